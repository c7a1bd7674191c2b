//! JSON for people: what fits stands on one line.

/// Characters to a line, where the value can be broken at all.
const WIDTH: usize = 118;

/// Lays out compact JSON.
pub(super) fn lines(json: &str) -> String {
    let mut out = String::new();
    put(json, 0, &mut out);
    out.push('\n');
    out
}

fn put(value: &str, indent: usize, out: &mut String) {
    let last = out.rsplit('\n').next().unwrap_or_default().chars().count();
    let (open, rest) = value.split_at(1);
    if !matches!(open, "{" | "[") || last + value.chars().count() < WIDTH {
        out.push_str(value);
        return;
    }
    let (inside, close) = rest.split_at(rest.len() - 1);
    let items = split(inside, ',');
    let inner = indent + 1;
    // Lists of numbers flow, everything else takes a line each.
    let flowing = open == "[" && items.iter().all(|item| item.parse::<i64>().is_ok());
    let margin = format!("\n{}", "  ".repeat(inner));
    out.push_str(open);
    out.push_str(&margin);
    let mut column = margin.len();
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            out.push(',');
            let fits = flowing && column + item.len() + 2 < WIDTH;
            out.push_str(if fits { " " } else { &margin });
            column = if fits { column + 2 } else { margin.len() };
        }
        column += item.len();
        let key_and_value = split(item, ':');
        if let ("{", [key, _, ..]) = (open, key_and_value.as_slice()) {
            out.push_str(key);
            out.push_str(": ");
            put(&item[key.len() + 1..], inner, out);
        } else {
            put(item, inner, out);
        }
    }
    out.push('\n');
    out.push_str(&"  ".repeat(indent));
    out.push_str(close);
}

/// The pieces between separators that stand outside strings and brackets.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut pieces, mut start, mut depth, mut quoted, mut escaped) = (Vec::new(), 0, 0usize, false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            _ if character == separator && depth == 0 => {
                pieces.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[start..]);
    pieces
}

#[test]
fn laying_out_changes_no_value() {
    let json =
        format!(r#"{{"a":[{}1],"b\"{{,:":{{"c":"{}"}},"d":[],"e":["x,y",[1]]}}"#, "22,".repeat(99), "z".repeat(99));
    let laid = lines(&json);
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("json");
    assert_eq!(read(&laid), read(&json));
    assert!(laid.lines().count() > 5 && laid.lines().all(|line| line.len() <= 120), "{laid}");
}
