//! The report as one HTML file, without scripts and without anything to load.

use askama::Template;

use super::{FileImport, Imports, Reason};

#[derive(Template)]
#[template(path = "import.html")]
struct Page<'a> {
    imports: &'a Imports,
    command: &'a str,
    verdict: String,
    to_do: Vec<(&'a str, &'a str)>,
}

impl Page<'_> {
    /// The lines of a reason, and how many more there are.
    fn lines(reason: &Reason) -> String {
        let lines: Vec<String> = reason.lines.iter().map(u64::to_string).collect();
        let more = reason.rows.saturating_sub(lines.len() as u64);
        match (lines.len(), more) {
            (0, _) => "not among the first hundred".to_owned(),
            (_, 0) => lines.join(", "),
            _ => format!("{} and {more} more", lines.join(", ")),
        }
    }

    fn written(file: &FileImport) -> String {
        file.written.iter().map(|(what, how)| format!("{what} {how}")).collect::<Vec<_>>().join("; ")
    }
}

/// The page.
///
/// # Errors
/// Where the template cannot be filled in.
pub fn render(imports: &Imports, command: &str) -> Result<String, askama::Error> {
    let of_file = |file: &'_ FileImport| file.to_do.len();
    let mut to_do = Vec::with_capacity(imports.files.iter().map(of_file).sum());
    for file in &imports.files {
        to_do.extend(file.to_do.iter().map(|text| (file.file.as_str(), text.as_str())));
    }
    Page { imports, command, verdict: imports.verdict(), to_do }.render()
}
