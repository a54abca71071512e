//! Files and values across an await, in Rust.

use std::{fs, fs::{File, OpenOptions}, os::unix::fs::{OpenOptionsExt, PermissionsExt}, path::Path as FilePath};

use axum::extract::{Path, Query};

// changed-across-await: a task that holds `&mut self` is alone with it
impl Meter {
    async fn subtract(&mut self, amount: u64) { // fine: changed-across-await
        let left = self.left;
        self.store.write(left).await;
        self.left = left - amount;
    }

    async fn in_place(&mut self, source: &Source) { // fine: changed-across-await
        self.total += source.read().await;
    }

    async fn of_a_local(&self, source: &Source) -> u64 { // fine: changed-across-await
        let mut total = self.total;
        total += source.read().await;
        total
    }
}

// seen in Mode7Labs/raceway, examples/rust-banking/src/main.rs
async fn pays(State(bank): State<Bank>, Json(order): Json<Order>) -> Result<Json<u64>, StatusCode> {
    let found = {
        let tills = bank.tills.read();
        tills.get(&order.from).map(|it| it.cents)
    };
    let Some(cents) = found else {
        return Err(StatusCode::NOT_FOUND);
    };
    if cents < order.cents {
        return Err(StatusCode::CONFLICT);
    }
    bank.journal.note(&order).await;
    let left = cents - order.cents;
    let mut tills = bank.tills.write();
    if let Some(till) = tills.get_mut(&order.from) {
        till.cents = left; // expect: changed-across-await
    }
    Ok(Json(left))
}

async fn counts_in_two_steps(bank: &Bank) {
    let served = bank.served.lock().unwrap().clone();
    bank.journal.flush().await;
    *bank.served.lock().unwrap() = served + 1; // expect: changed-across-await
}

async fn counts_under_one_lock(bank: &Bank) { // fine: changed-across-await
    let mut served = bank.served.lock().await;
    let before = *served;
    bank.journal.flush().await;
    *served = before + 1;
}

async fn counts_behind_the_wait(bank: &Bank) { // fine: changed-across-await
    bank.journal.flush().await;
    let mut served = bank.served.lock().unwrap();
    *served = *served + 1;
}

async fn counts_something_else(bank: &Bank) { // fine: changed-across-await
    let served = *bank.served.lock().unwrap();
    bank.journal.flush().await;
    *bank.greeted.lock().unwrap() = served + 1;
}

async fn looks_again(bank: &Bank) -> bool { // fine: changed-across-await
    let before = *bank.served.lock().unwrap();
    bank.journal.flush().await;
    let mut served = bank.served.lock().unwrap();
    if *served != before {
        return false;
    }
    *served = before + 1;
    true
}

// file-checked-then-used
fn removes_by_its_kind(path: &FilePath) -> std::io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if found.is_dir() {
        return fs::remove_dir_all(path); // expect: file-checked-then-used
    }
    Ok(())
}

fn in_a_shared_folder() -> std::io::Result<String> {
    let path = FilePath::new("/tmp/service.state");
    if !path.exists() {
        return Ok(String::new());
    }
    fs::read_to_string(path) // expect: file-checked-then-used
}

fn no_link_then_open(path: &FilePath) -> std::io::Result<File> {
    if path.is_symlink() {
        return Err(std::io::Error::other("a link"));
    }
    File::open(path) // expect: file-checked-then-used
}

fn opened_then_looked_at(path: &FilePath) -> std::io::Result<File> { // fine: file-checked-then-used, file-exists-then-opened
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("no file"));
    }
    Ok(file)
}

fn without_links(path: &FilePath) -> std::io::Result<File> { // fine: file-checked-then-used, file-exists-then-opened
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path)
}

fn only_said(path: &FilePath) -> bool { // fine: file-checked-then-used, file-exists-then-opened
    path.is_symlink() || path.exists()
}

// file-exists-then-opened
fn old_output(path: &FilePath) -> std::io::Result<()> {
    if path.is_file() {
        fs::remove_file(path)?; // expect: file-exists-then-opened
    }
    Ok(())
}

fn by_its_length(path: &FilePath) -> std::io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > 1024 {
        return Ok(Vec::new());
    }
    fs::read(path) // expect: file-exists-then-opened
}

fn tried_first(path: &FilePath) -> std::io::Result<Option<File>> {
    if !path.try_exists()? {
        return Ok(None);
    }
    Ok(Some(File::open(path)?)) // expect: file-exists-then-opened
}

fn made_if_missing(path: &FilePath) -> std::io::Result<()> { // fine: file-exists-then-opened
    if !path.exists() {
        fs::create_dir_all(path)?;
    }
    Ok(())
}

// created-then-restricted
fn file_of_a_key(path: &FilePath, key: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(key)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o400)) // expect: created-then-restricted
}

fn with_std(path: &FilePath, key: &[u8]) -> std::io::Result<()> {
    std::fs::write(path, key)?;
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, mode)?; // expect: created-then-restricted
    Ok(())
}

async fn with_tokio(path: &FilePath, key: &[u8]) -> std::io::Result<()> {
    tokio::fs::write(path, key).await?;
    tokio::fs::set_permissions(path, Permissions::from_mode(0o600)).await // expect: created-then-restricted
}

fn made_to_run(path: &FilePath, text: &str) -> std::io::Result<()> { // fine: created-then-restricted
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

fn another_file(path: &FilePath, other: &FilePath, key: &[u8]) -> std::io::Result<()> { // fine: created-then-restricted
    fs::write(path, key)?;
    fs::set_permissions(other, fs::Permissions::from_mode(0o600))
}

fn only_restricted(path: &FilePath) -> std::io::Result<()> { // fine: created-then-restricted
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

// link-followed
async fn text_of(Path(name): Path<String>) -> String {
    fs::read_to_string(format!("/srv/texts/{name}")).unwrap_or_default() // expect: link-followed
}

async fn opened(Query(name): Query<String>) -> Result<File, Refused> {
    let path = FilePath::new("/srv/pages").join(&name);
    Ok(File::open(path)?) // expect: link-followed
}

async fn removed(Path(name): Path<String>) -> Result<(), Refused> {
    let path = root().join(name);
    tokio::fs::remove_file(path).await?; // expect: link-followed
    Ok(())
}

async fn beneath(Path(name): Path<String>) -> Result<Vec<u8>, Refused> { // fine: link-followed
    let path = FilePath::new("/srv").join(name).canonicalize()?;
    if !path.starts_with("/srv") {
        return Err(Refused);
    }
    Ok(fs::read(path)?)
}

async fn of_a_number(Path(id): Path<u64>) -> Vec<u8> { // fine: link-followed
    fs::read("/srv/fixed.bin").unwrap_or_default()
}

fn not_a_handler(root: &FilePath, name: &str) -> std::io::Result<Vec<u8>> { // fine: link-followed
    fs::read(root.join(name))
}

async fn served_by_the_crate(Path(name): Path<String>, payload: VerifiedPayload) -> Result<Vec<u8>, Refused> { // fine: link-followed
    let file = VerifiedFile::open("/srv", &name, &payload).await?;
    Ok(file.read().await?)
}
