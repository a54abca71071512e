//! `countersign.toml`, or `[tool.countersign]` of `pyproject.toml`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{Severity, rules};
use crate::exit::Failure;

/// Which rules are on, and what is left out.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) enable: Vec<String>,
    pub(crate) disable: Vec<String>,
    /// Globs, as in `.gitignore`.
    pub(crate) exclude: Vec<String>,
    pub(crate) min_severity: Severity,
    pub(crate) baseline: Option<PathBuf>,
    pub(crate) all: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enable: Vec::new(),
            disable: Vec::new(),
            exclude: Vec::new(),
            min_severity: Severity::Low,
            baseline: None,
            all: false,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Written {
    enable: Vec<String>,
    disable: Vec<String>,
    exclude: Vec<String>,
    min_severity: Option<Severity>,
    baseline: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pyproject {
    tool: Tools,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tools {
    countersign: Option<Written>,
}

impl Config {
    /// Reads the configuration of a folder, or of the nearest folder above that has one.
    ///
    /// # Errors
    /// Returns a failure if the file cannot be read, or names a rule that is not there.
    pub(crate) fn read(folder: &Path) -> Result<Self, Failure> {
        for folder in folder.ancestors() {
            let own = folder.join("countersign.toml");
            if let Some(text) = text_of(&own)? {
                let written = toml::from_str(&text).map_err(|error| wrong(&own, &error))?;
                return Self::of(written, &own);
            }
            let shared = folder.join("pyproject.toml");
            if let Some(text) = text_of(&shared)?
                && text.contains("countersign")
            {
                let all: Pyproject =
                    toml::from_str(&text).map_err(|error| wrong(&shared, &error))?;
                if let Some(written) = all.tool.countersign {
                    return Self::of(written, &shared);
                }
            }
        }
        Ok(Self::default())
    }

    fn of(written: Written, path: &Path) -> Result<Self, Failure> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let config = Self {
            enable: written.enable,
            disable: written.disable,
            exclude: written.exclude,
            min_severity: written.min_severity.unwrap_or(Severity::Low),
            baseline: written.baseline.map(|it| folder.join(it)),
            all: false,
        };
        config.check(&path.display().to_string())?;
        Ok(config)
    }

    /// Refuses names of rules that are not there.
    ///
    /// # Errors
    /// Returns a failure that names the rule.
    pub(crate) fn check(&self, from: &str) -> Result<(), Failure> {
        for id in self.enable.iter().chain(&self.disable) {
            if rules::find(id).is_none() {
                return Err(unknown(id, from));
            }
        }
        Ok(())
    }

    pub(super) fn is_on(&self, id: &str) -> bool {
        let named = |all: &[String]| all.iter().any(|it| it == id);
        let is_default = rules::find(id).is_some_and(|it| it.off.is_none());
        !named(&self.disable) && (self.all || is_default || named(&self.enable))
    }
}

/// A rule that is not there.
pub(crate) fn unknown(id: &str, from: &str) -> Failure {
    Failure::usage(
        format!("`{id}` is not a rule"),
        format!("{from} names it"),
        "`countersign audit --list-rules` lists the rules",
    )
}

fn text_of(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::unable(
            format!("`{}` cannot be read", path.display()),
            error.to_string(),
            "",
        )),
    }
}

fn wrong(path: &Path, error: &toml::de::Error) -> Failure {
    Failure::usage(
        format!("the configuration `{}` is refused", path.display()),
        error.message().to_owned(),
        "its keys are `enable`, `disable`, `exclude`, `min-severity` and `baseline`",
    )
}
