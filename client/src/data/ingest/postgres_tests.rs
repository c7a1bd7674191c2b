//! Queries against a real PostgreSQL, started for the test on a folder and a socket of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::*;
use crate::data::{
    ingest::Input,
    store::{DataStore, ImportOptions},
};

/// Password of the test's server; no message and no file may show it.
const PASSWORD: &str = "s3cr3t-of-the-test";

/// A PostgreSQL server with one user, `shop`; gone when dropped, with its processes and its shared memory.
struct Server {
    process: Child,
    stop: Command,
    folder: tempfile::TempDir,
}

impl Server {
    /// `None` where no server is installed.
    fn start() -> Option<Self> {
        let binaries = binaries()?;
        let folder = tempfile::tempdir().unwrap();
        let user = unprivileged_user();
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let password = folder.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(&password, Some(uid), Some(gid)).unwrap();
        }
        let command = |name: &str| {
            let mut command = Command::new(binaries.join(name));
            command.current_dir(folder.path()).env("LC_ALL", "C").stdout(Stdio::null()).stderr(Stdio::null());
            if let Some((uid, gid)) = user {
                use std::os::unix::process::CommandExt as _;
                command.uid(uid).gid(gid);
            }
            command
        };
        let made = command("initdb")
            .args(["-D", "data", "-U", "shop", "-A", "scram-sha-256", "-E", "UTF8", "--no-sync", "--pwfile=password"])
            .status()
            .unwrap();
        assert!(made.success(), "initdb failed");
        let process = command("postgres")
            .args(["-D", "data", "-c", "listen_addresses=", "-c", "fsync=off", "-k"])
            .arg(folder.path())
            .spawn()
            .unwrap();
        let mut stop = command("pg_ctl");
        stop.args(["-D", "data", "-m", "immediate", "stop"]);
        let server = Self { process, stop, folder };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !server.run("SELECT 1") {
            assert!(Instant::now() < deadline, "the server does not start");
            thread::sleep(Duration::from_millis(100));
        }
        Some(server)
    }

    fn address(&self, password: Option<&str>) -> String {
        let socket = self.folder.path().display().to_string().replace('/', "%2F");
        let password = password.map(|password| format!(":{password}")).unwrap_or_default();
        format!("postgres://shop{password}@{socket}/postgres")
    }

    /// Runs statements; false where the server does not take them yet.
    fn run(&self, statements: &str) -> bool {
        let options: PgConnectOptions = self.address(Some(PASSWORD)).parse().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let Ok(mut connection) = PgConnection::connect_with(&options).await else { return false };
            sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
            true
        })
    }

    fn input(&self, query: &str) -> Input {
        let query = PostgresQuery::new(&self.address(Some(PASSWORD)), query).unwrap();
        Input::answer(std::sync::Arc::new(query))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A server that is killed leaves its shared memory behind.
        if !self.stop.status().is_ok_and(|status| status.success()) {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

/// Folder of `initdb` and `postgres`.
fn binaries() -> Option<PathBuf> {
    let of_debian =
        fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|dir| dir.path().join("bin"));
    let of_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let has_all = |dir: &PathBuf| ["initdb", "postgres", "pg_ctl"].iter().all(|name| dir.join(name).exists());
    of_debian.chain(of_path.unwrap_or_default()).find(has_all)
}

/// PostgreSQL refuses to run as root: then as `postgres`, or as `nobody`.
fn unprivileged_user() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    let is_root = fs::metadata(Path::new("/proc/self")).is_ok_and(|own| own.uid() == 0);
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = |name: &str| {
        let fields: Vec<&str> = users.lines().find(|line| line.starts_with(&format!("{name}:")))?.split(':').collect();
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    };
    if is_root { user("postgres").or_else(|| user("nobody")) } else { None }
}

const SHOP: &str = "CREATE TABLE sold (id serial PRIMARY KEY, invoice text, client int, sku text, at timestamptz,
                    units int, price numeric(10,2), changed timestamp);
    INSERT INTO sold (invoice, client, sku, at, units, price, changed) VALUES
    ('o1', 7, 'mug, \"red\"', '2024-01-02 09:30:00+01', 2, 4.50, '2024-01-02 10:00'),
    ('o2', NULL, 'saw', '2024-01-03 12:00:00+01', 1, 1234.00, '2024-01-03 12:00');";

const QUERY: &str = "SELECT invoice AS order_id, client AS customer_id, sku, at AS ordered_at, units AS quantity,
                     price AS unit_price, changed FROM sold -- what was sold";

#[test]
fn a_query_is_imported_and_then_only_what_is_new_and_its_password_is_nowhere() {
    let Some(server) = Server::start() else {
        println!("skipped: no PostgreSQL");
        return;
    };
    server.run(SHOP);
    let dir = tempfile::tempdir().unwrap();
    let mut store = DataStore::open(dir.path()).unwrap();
    let import = |store: &mut DataStore| store.import(&server.input(QUERY), &ImportOptions::default()).unwrap();
    let report = import(&mut store);
    assert_eq!((report.imported, report.rejected_total, report.counted_in), (2, 0, "row"), "{report}");
    let line = &store.orders()[0];
    assert_eq!((line.product.as_str(), line.at), ("mug, \"red\"", jiff::civil::datetime(2024, 1, 2, 8, 30, 0, 0)));
    assert_eq!((store.orders()[1].unit_price, store.orders()[1].customer), (Some(1234.0), None));

    // Without a cursor everything is read and known again; with one, only the last value and what came after it.
    assert_eq!((import(&mut store).rows, store.orders().len()), (2, 2));
    let mapping = fs::read_to_string(store.mapping_path()).unwrap();
    fs::write(store.mapping_path(), mapping.replace("[orders.columns]", "cursor = \"changed\"\n[orders.columns]"))
        .unwrap();
    let report = import(&mut store);
    assert_eq!((report.rows, report.known), (2, 2), "{report}");
    server.run(
        "INSERT INTO sold (invoice, sku, at, units, price, changed) VALUES
         ('o3', 'mug', '2024-01-04', 3, 4.5, '2024-01-03 12:00'), ('o4', 'mug', '2024-01-04', 3, 4.5, '2024-01-05'),
         ('o5', 'mug', '2024-01-04', 3, 4.5, NULL); DELETE FROM sold WHERE invoice = 'o1'",
    );
    let report = import(&mut store);
    assert_eq!((report.rows, report.known, report.imported), (4, 1, 3), "{report}");
    let report = import(&mut store);
    assert_eq!((report.rows, report.known, report.imported, store.orders().len()), (2, 2, 0, 5), "{report}");
    assert!(!report.to_string().contains(PASSWORD));
    for entry in fs::read_dir(dir.path()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes()));
    }

    // Columns that are not there, a query that writes, a wrong word, no password: a sentence each, nothing changed.
    let mapping = fs::read_to_string(store.mapping_path()).unwrap();
    fs::write(store.mapping_path(), mapping.replace("cursor = \"changed\"", "cursor = \"chnged\"")).unwrap();
    let error = store.import(&server.input(QUERY), &ImportOptions::default()).unwrap_err().to_string();
    assert!(error.contains("cursor is the column `chnged`"), "{error}");
    let refused = |query: &str, expected: &str| {
        let error = DataStore::open(dir.path()).unwrap().import(&server.input(query), &ImportOptions::default());
        let error = error.unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains(PASSWORD), "{error}");
    };
    refused("DELETE FROM sold RETURNING *", "does not answer the query: ");
    let writes =
        "SELECT setval('sold_id_seq', 1) AS quantity, 'o' AS order_id, 'm' AS sku, date '2024-01-01' AS ordered_at";
    refused(writes, "read-only transaction; only what reads is run");
    refused("SELECT * FROM soold", "relation \"soold\" does not exist");
    refused("SELECT 1 AS colour, 2 AS shape", "(`colour,shape`) fit no table");
    let query = PostgresQuery::new(&server.address(Some("wrong")), QUERY).unwrap();
    let input = Input::answer(std::sync::Arc::new(query));
    let error = store.import(&input, &ImportOptions::default()).unwrap_err().to_string();
    assert!(error.contains("the password in PGPASSWORD"), "{error}");
    assert_eq!(DataStore::open(dir.path()).unwrap().orders().len(), 5);

    // A query that fails after a thousand rows leaves the table as it was.
    let breaks =
        "SELECT 'x' || i AS order_id, 'mug' AS sku, date '2024-01-01' AS ordered_at, 100 / (3000 - i) AS quantity
                  FROM generate_series(1, 4000) i";
    fs::remove_file(store.mapping_path()).unwrap();
    let error = store.import(&server.input(breaks), &ImportOptions::default()).unwrap_err().to_string();
    assert!(error.contains("division by zero"), "{error}");
    assert_eq!(DataStore::open(dir.path()).unwrap().orders().len(), 5);
}

#[test]
fn an_address_that_is_none_is_refused_without_repeating_it() {
    let error = |address: &str| PostgresQuery::new(address, "SELECT 1").err().unwrap().to_string();
    assert!(error("postgres://shop:hidden@host:port/db").contains("does not parse"));
    // A slip, or a sign that ends the password early: no part of it may be taken for a name and be shown.
    for slip in [
        "postgres:/shop:hidden@host/db",
        "postgres:shop:hidden@host/db",
        "postgres://shop:12/hidden@host/db",
        "postgres://shop:12?hidden@host/db",
        "postgres://shop:12#hidden@host/db",
        "postgres://shop:hid/den@host/db",
    ] {
        let said = error(slip);
        assert!(!said.contains("hid") && !said.contains("den") && said.contains("the address"), "{said}");
    }
    let unknown = error("postgres://shop@host/db?pasword=hidden");
    assert!(unknown.contains("`pasword`") && !unknown.contains("hidden"), "{unknown}");
    assert!(PostgresQuery::new("postgres://shop@host/db", " ; ").err().unwrap().to_string().contains("is empty"));
    let query = PostgresQuery::new("postgresql://shop:hidden@host:5433/db", "SELECT 1").unwrap();
    assert_eq!(query.name(), "postgres://shop@host:5433/db");
    assert!(!query.identity.contains("hidden"));
}

#[test]
fn a_host_that_is_not_there_is_named() {
    let query = PostgresQuery::new("postgres://shop@127.0.0.1:1/db", "SELECT 1").unwrap();
    let mut bytes = Vec::new();
    let error = query.open(Part::All).unwrap().read_to_end(&mut bytes).unwrap_err().to_string();
    assert!(error.contains("postgres://shop@127.0.0.1:1/db cannot be read") && error.contains("check host"), "{error}");
}
