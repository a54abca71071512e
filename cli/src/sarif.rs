//! SARIF 2.1.0, as much of it as the command writes: runs, rules, results, places, flows of steps,
//! fingerprints and notifications.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/\
                      sarif-schema-2.1.0.json";

/// Where people read of the command.
const INFORMATION: &str = "https://docs.countersign.example";

/// How serious a result is, in the words of SARIF.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Note,
    Warning,
    Error,
}

/// A kind of result. Its id never changes.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rule {
    id: String,
    short_description: Text,
    full_description: Text,
    help: Text,
    default_configuration: Configuration,
    properties: RuleProperties,
}

#[derive(Clone, Debug, Serialize)]
struct Configuration {
    level: Level,
}

#[derive(Clone, Debug, Serialize)]
struct RuleProperties {
    tags: Vec<String>,
    /// From 0.0 to 10.0: what code scanning services rank by.
    #[serde(rename = "security-severity", skip_serializing_if = "Option::is_none")]
    security_severity: Option<String>,
}

impl Rule {
    /// A rule with what it finds, why it matters, and how to mend it.
    pub(crate) fn new(id: &str, level: Level, what: &str, why: &str, mend: &str) -> Self {
        Self {
            id: id.to_owned(),
            short_description: Text::new(what),
            full_description: Text::new(why),
            help: Text::new(mend),
            default_configuration: Configuration { level },
            properties: RuleProperties {
                tags: vec!["security".to_owned()],
                security_severity: None,
            },
        }
    }

    /// Adds tags, such as `external/cwe/cwe-294`.
    pub(crate) fn tags(mut self, tags: impl IntoIterator<Item = String>) -> Self {
        self.properties.tags.extend(tags);
        self
    }

    /// Says how severe the rule is, from 0 to 10.
    pub(crate) fn security_severity(mut self, score: &str) -> Self {
        self.properties.security_severity = Some(score.to_owned());
        self
    }
}

/// A text.
#[derive(Clone, Debug, Serialize)]
struct Text {
    text: String,
}

impl Text {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }
}

/// A place: a file or a URL, and in a file the line.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Location {
    physical_location: PhysicalLocation,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Text>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: ArtifactLocation,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Region>,
}

#[derive(Clone, Debug, Serialize)]
struct ArtifactLocation {
    uri: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snippet: Option<Text>,
}

impl Location {
    /// A file or a URL. Spaces and the like must be percent-encoded.
    pub(crate) fn of(uri: impl Into<String>) -> Self {
        Self {
            physical_location: PhysicalLocation {
                artifact_location: ArtifactLocation { uri: uri.into() },
                region: None,
            },
            message: None,
        }
    }

    /// Names the line and the column, both counted from 1.
    pub(crate) fn at(mut self, line: usize, column: Option<usize>, snippet: Option<&str>) -> Self {
        self.physical_location.region = Some(Region {
            start_line: line.max(1),
            start_column: column,
            snippet: snippet.map(Text::new),
        });
        self
    }

    /// Says what happens there.
    pub(crate) fn says(mut self, text: impl Into<String>) -> Self {
        self.message = Some(Text::new(text));
        self
    }
}

/// A finding.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Finding {
    rule_id: String,
    level: Level,
    message: Text,
    locations: Vec<Location>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    code_flows: Vec<CodeFlow>,
    partial_fingerprints: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    suppressions: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Value>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CodeFlow {
    thread_flows: Vec<ThreadFlow>,
}

#[derive(Clone, Debug, Serialize)]
struct ThreadFlow {
    locations: Vec<ThreadFlowLocation>,
}

#[derive(Clone, Debug, Serialize)]
struct ThreadFlowLocation {
    location: Location,
}

impl Finding {
    /// A finding of a rule, at a place. The fingerprint is what stays the same when the finding is
    /// made again.
    pub(crate) fn new(
        rule_id: &str,
        level: Level,
        message: impl Into<String>,
        location: Location,
        fingerprint: impl Into<String>,
    ) -> Self {
        Self {
            rule_id: rule_id.to_owned(),
            level,
            message: Text::new(message),
            locations: vec![location],
            code_flows: Vec::new(),
            partial_fingerprints: [("countersign/v1".to_owned(), fingerprint.into())].into(),
            suppressions: Vec::new(),
            properties: None,
        }
    }

    /// The steps that lead to the finding, in order.
    pub(crate) fn steps(mut self, steps: impl IntoIterator<Item = Location>) -> Self {
        let locations = steps
            .into_iter()
            .map(|location| ThreadFlowLocation { location })
            .collect();
        self.code_flows = vec![CodeFlow {
            thread_flows: vec![ThreadFlow { locations }],
        }];
        self
    }

    /// Marks the finding as accepted by people, for this reason.
    #[allow(dead_code, reason = "nobody accepts what a probe finds")]
    pub(crate) fn suppressed(mut self, reason: &str) -> Self {
        self.suppressions = vec![json!({"kind": "inSource", "justification": reason})];
        self
    }

    /// Facts of our own about the finding: an object.
    pub(crate) fn properties(mut self, properties: Value) -> Self {
        self.properties = Some(properties);
        self
    }
}

/// Limits what the results say: something was left out, or was not as it should be.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Notification {
    level: Level,
    message: Text,
    locations: Vec<Location>,
    #[serde(skip_serializing_if = "Option::is_none")]
    associated_rule: Option<Value>,
}

impl Notification {
    pub(crate) fn new(level: Level, message: impl Into<String>, location: Location) -> Self {
        Self {
            level,
            message: Text::new(message),
            locations: vec![location],
            associated_rule: None,
        }
    }

    /// Names the rule that it is about.
    pub(crate) fn about(mut self, rule_id: &str) -> Self {
        self.associated_rule = Some(json!({"id": rule_id}));
        self
    }
}

/// Tells whether all was done, and what limits the results.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Invocation {
    pub(crate) execution_successful: bool,
    pub(crate) tool_execution_notifications: Vec<Notification>,
}

/// The whole log of one run of the command.
pub(crate) fn log(rules: &[Rule], findings: &[Finding], invocation: Option<&Invocation>) -> Value {
    let mut run = json!({
        "tool": {"driver": {
            "name": "countersign",
            "version": env!("CARGO_PKG_VERSION"),
            "informationUri": INFORMATION,
            "rules": rules,
        }},
        "results": findings,
    });
    if let (Some(run), Some(invocation)) = (run.as_object_mut(), invocation) {
        run.insert("invocations".to_owned(), json!([invocation]));
    }
    json!({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})
}
