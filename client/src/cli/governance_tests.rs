//! A merchant's own data through the command line: what files come of it, and what is refused.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Parser as _;
use serde_json::Value;

use super::{Arguments, run};

struct Folder(tempfile::TempDir);

impl Folder {
    fn with_orders() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::write(
            folder.path("orders.csv"),
            "order_id,customer_id,product_id,ordered_at,quantity\no1,alice,mug,2024-01-02,2\no2,bob,mug,2024-01-03,1\n\
             o3,alice,saw,2024-01-04,1\no4,bob,saw,never,1\n",
        )
        .unwrap();
        folder.run(&["data", "import", "{}/orders.csv"]).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a command on the state folder; `{}` is the folder of the files.
    fn run(&self, words: &[&str]) -> Result<(), String> {
        let here = self.0.path().to_str().unwrap();
        let state = format!("{here}/state");
        let words = words.iter().map(|word| word.replace("{}", here));
        let typed = ["forecastle".to_owned(), "--dir".to_owned(), state].into_iter().chain(words);
        let arguments = Arguments::try_parse_from(typed).map_err(|error| error.to_string())?;
        run(arguments).map_err(|error| error.to_string())
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).unwrap()
    }
}

fn mode(path: &Path) -> u32 {
    #[cfg(unix)]
    return std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777;
    #[cfg(not(unix))]
    0o600
}

#[test]
fn a_customer_is_given_out_erased_and_kept_out() {
    let folder = Folder::with_orders();
    folder.run(&["data", "export", "--customer", "alice", "--out", "{}/held.csv"]).unwrap();
    folder.run(&["data", "export", "--customer", " alice ", "--out", "{}/held.json"]).unwrap();
    let (held, pseudonym) =
        (folder.json("held.json"), folder.json("held.json")["pseudonym"].as_str().unwrap().to_owned());
    assert_eq!(held["tables"]["orders"].as_array().unwrap().len(), 2);
    assert_eq!(held["tables"]["orders"][0]["product_id"], "mug");
    let csv = folder.text("held.csv");
    assert!(csv.starts_with("# What Forecastle holds") && csv.contains(&format!("o1,,{pseudonym},mug")), "{csv}");
    assert!(csv.contains("orders.csv (") && csv.contains("no federation"), "{csv}");
    assert_eq!(mode(&folder.path("held.csv")), 0o600);

    fs::write(folder.path("state/served.toml"), "served = \"theta\"\n").unwrap();
    let error = folder.run(&["data", "erase", "--customer", "carol", "--yes"]).unwrap_err();
    assert!(error.contains("nothing is held about this customer"), "{error}");
    assert!(folder.path("state/served.toml").exists());
    folder.run(&["data", "erase", "--customer", "alice", "--yes", "--out", "{}/a.json", "--out", "{}/a.txt"]).unwrap();
    let record = folder.json("a.json");
    assert_eq!((&record["pseudonym"], &record["rows"]["orders"]), (&Value::from(pseudonym.as_str()), &Value::from(2)));
    assert_eq!((&record["served_choice_forgotten"], &record["published"]), (&Value::from(true), &Value::Null));
    assert!(!folder.path("state/served.toml").exists());
    for name in ["held.csv", "held.json", "a.json", "a.txt"] {
        assert!(!folder.text(name).contains("alice"), "{name}");
    }
    // Once more, by the pseudonym.
    folder.run(&["data", "erase", "--pseudonym", &pseudonym, "--yes", "--out", "{}/b.json"]).unwrap();
    assert_eq!(folder.json("b.json")["is_new"], false);
    folder
        .run(&["data", "import", "--again", "{}/orders.csv", "--report", "{}/r.json", "--report", "{}/r.html"])
        .unwrap();
    assert_eq!(
        (&folder.json("r.json")["files"][0]["erased"], &folder.json("r.json")["files"][0]["known"]),
        (&Value::from(2), &Value::from(1))
    );
    assert!(folder.text("r.html").contains("2 of erased customers") && !folder.text("r.html").contains("never"));
    folder.run(&["data", "export", "--customer", "alice", "--out", "{}/held.csv"]).unwrap();
    assert!(
        folder.text("held.csv").contains("Nothing is held")
            && folder.text("held.csv").contains("2 rows of this customer were erased")
    );
    folder
        .run(&["data", "import", "--again", "{}/orders.csv", "--forget-erasure", "alice", "--report", "{}/r.html"])
        .unwrap();
    folder.run(&["data", "export", "--table", "orders", "--out", "{}/orders-out.csv"]).unwrap();
    assert_eq!(folder.text("orders-out.csv").matches(&pseudonym).count(), 2);
}

#[test]
fn what_cannot_be_done_is_said_in_a_sentence() {
    let folder = Folder::with_orders();
    for (words, expected) in [
        (&["data", "export"][..], "--table NAME, --customer ID"),
        (&["data", "export", "--customer", "  "], "number is empty"),
        (&["data", "export", "--pseudonym", "xyz"], "32 hexadecimal digits"),
        (&["data", "export", "--table", "orders", "--customer", "alice"], "cannot be used with"),
        (&["data", "export", "--table", "orders", "--out", "{}/a.xls"], "must end in .csv or .json"),
        (&["data", "erase", "--yes"], "say which customer"),
        (&["data", "erase", "--customer", "alice", "--yes", "--out", "{}/a.pdf"], "must end in .json or .txt"),
        (&["data", "expire"], "no period is set"),
        (&["data", "import", "{}/orders.csv", "--report", "{}/a.doc"], "must end in .html or .json"),
        (&["data", "import", "{}/orders.csv", "--constant", "customer_id=alice"], "cannot be a constant"),
    ] {
        let error = folder.run(words).unwrap_err();
        assert!(error.contains(expected), "{words:?}: {error}");
    }
    // Nothing of it erased anything.
    folder.run(&["data", "export", "--table", "orders", "--out", "{}/all.csv"]).unwrap();
    assert_eq!(folder.text("all.csv").lines().count(), 4);
}

#[test]
fn an_erasure_without_an_answer_is_refused() {
    use std::io::IsTerminal as _;
    if std::io::stdin().is_terminal() {
        println!("skipped: somebody is there to answer");
        return;
    }
    let folder = Folder::with_orders();
    let error = folder.run(&["data", "erase", "--customer", "alice"]).unwrap_err();
    assert!(error.contains("Erase 2 rows") && error.contains("--yes"), "{error}");
    fs::write(folder.path("state/data/retention.toml"), "orders = \"1 day\"\n").unwrap();
    let error = folder.run(&["data", "expire"]).unwrap_err();
    assert!(error.contains("Drop 3 rows?") && error.contains("--yes"), "{error}");
    folder.run(&["data", "expire", "--dry-run"]).unwrap();
    folder.run(&["data", "export", "--table", "orders", "--out", "{}/all.csv"]).unwrap();
    assert_eq!(folder.text("all.csv").lines().count(), 4);
    folder.run(&["data", "expire", "--yes"]).unwrap();
    folder.run(&["data", "export", "--table", "orders", "--out", "{}/all.csv"]).unwrap();
    assert_eq!(folder.text("all.csv").lines().count(), 1);
}

#[test]
fn the_key_is_moved_remembered_and_replaced() {
    let folder = Folder::with_orders();
    let elsewhere = folder.path("shop.key");
    let error = folder.run(&["--key-file", "{}/shop.key", "data", "show"]).unwrap_err();
    assert!(error.contains("data key move"), "{error}");
    // Also where the environment names the place already.
    folder.run(&["--key-file", "{}/shop.key", "data", "key", "move", "{}/shop.key"]).unwrap();
    assert!(elsewhere.exists() && !folder.path("state/data/data.key").exists());
    let before = folder.text("shop.key");
    folder.run(&["data", "key", "rotate"]).unwrap();
    assert_ne!(folder.text("shop.key"), before);
    folder.run(&["data", "show"]).unwrap();
    fs::remove_file(&elsewhere).unwrap();
    let error = folder.run(&["data", "show"]).unwrap_err();
    assert!(error.contains("nobody can read"), "{error}");
    // A new folder makes its key where it is told.
    let other = Folder(tempfile::tempdir().unwrap());
    other.run(&["--key-file", "{}/other.key", "data", "show"]).unwrap();
    assert!(other.path("other.key").exists() && !other.path("state/data/data.key").exists());
}
