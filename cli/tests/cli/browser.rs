//! A real browser without a window: Debian's `chromium`, driven by its `chromium-driver`.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use fantoccini::{
    Client, ClientBuilder, Locator, elements::Element, wd::WebDriverCompatibleCommand,
};
use http::Method;
use serde_json::{Value, json};
use url::{ParseError, Url};

/// Longer than a busy machine takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// The driver, which ends with this value.
pub(crate) struct Browser {
    driver: Child,
    pub(crate) client: Client,
}

impl Browser {
    /// Starts the browser, unless it is not installed; `tests/run.sh` installs it.
    pub(crate) async fn start(is_dark: bool) -> Option<Self> {
        let mut tries = 0;
        // A driver ends at once if somebody else takes its port for one of two families of addresses.
        let (driver, port) = loop {
            let mut driver = start_driver()?;
            if let Some(port) = port_of(&mut driver) {
                break (driver, port);
            }
            tries += 1;
            assert!(tries < 5, "chromedriver does not listen");
            driver.wait().unwrap();
        };
        let colours = format!(
            "--blink-settings=preferredColorScheme={}",
            u8::from(!is_dark)
        );
        let options = json!({"args": [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--hide-scrollbars", "--window-size=1440,900", "--no-first-run", "--disable-extensions",
            "--disable-background-networking", "--disable-component-update", colours,
        ]});
        let mut wanted = serde_json::Map::new();
        wanted.insert("goog:chromeOptions".to_owned(), options);
        wanted.insert("goog:loggingPrefs".to_owned(), json!({"browser": "ALL"}));
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(wanted)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap();
        Some(Self { driver, client })
    }

    pub(crate) async fn end(self) {
        self.client.clone().close().await.unwrap();
    }

    /// Shows a page that is a file.
    pub(crate) async fn open(&self, page: &Path) {
        let url = format!("file://{}", page.display());
        self.client.goto(&url).await.unwrap();
    }

    /// Waits for an element.
    pub(crate) async fn element(&self, css: &str) -> Element {
        let waiting = self.client.wait().at_most(DEADLINE);
        let found = waiting.for_element(Locator::Css(css)).await;
        found.unwrap_or_else(|error| panic!("{css}: {error}"))
    }

    pub(crate) async fn text(&self, css: &str) -> String {
        self.element(css).await.text().await.unwrap()
    }

    pub(crate) async fn click(&self, css: &str) {
        self.element(css).await.click().await.unwrap();
    }

    /// Returns what a script returns.
    pub(crate) async fn script(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Waits until a script returns true.
    pub(crate) async fn until(&self, condition: &str) {
        let met = async {
            while self.script(&format!("return Boolean({condition})")).await != true {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(DEADLINE, met).await.is_err() {
            let body = self.script("return document.body.innerText").await;
            panic!("never: {condition}\n{body}")
        }
    }

    /// Returns what the console says since it was last read.
    pub(crate) async fn console(&self) -> Vec<String> {
        let said = self.client.issue_cmd(ReadConsole).await.unwrap();
        let entries = said.as_array().unwrap().iter();
        entries.map(|entry| entry["message"].to_string()).collect()
    }

    /// Writes a picture into the folder that `COUNTERSIGN_PICTURES` names, or else into the tests' own.
    pub(crate) async fn picture(&self, name: &str) {
        let own = || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("inspector");
        let folder = env::var_os("COUNTERSIGN_PICTURES").map_or_else(own, PathBuf::from);
        fs::create_dir_all(&folder).unwrap();
        let picture = self.client.screenshot().await.unwrap();
        fs::write(folder.join(format!("{name}.png")), picture).unwrap();
    }
}

/// The log of the browser: a command of Chromium's driver.
#[derive(Debug)]
struct ReadConsole;

impl WebDriverCompatibleCommand for ReadConsole {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({"type": "browser"}).to_string()))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browsers.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// `None` if it is not installed.
fn start_driver() -> Option<Child> {
    let driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    if driver.is_err() {
        let may_skip = env::var_os("COUNTERSIGN_NO_SKIP").is_none();
        assert!(may_skip, "chromedriver is not installed");
        eprintln!("skipped: chromedriver is not installed");
    }
    driver.ok()
}

/// Returns the port that the driver listens on; `None` if the driver has ended.
fn port_of(driver: &mut Child) -> Option<u16> {
    let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    lines.map_while(Result::ok).find_map(|line| {
        let port = line.split("successfully on port ").nth(1)?;
        port.trim_end_matches('.').parse().ok()
    })
}
