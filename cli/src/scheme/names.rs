//! Finds the scheme that a name or a file means.

use std::path::Path;

use countersign::webhooks::Twilio;

use super::{any::AnyScheme, chosen::Chosen, file};
use crate::{exit::Failure, nearest::nearest, printer::escaped};

/// Every scheme that has a name.
pub(crate) fn all() -> impl Iterator<Item = Chosen> {
    let named = AnyScheme::named().into_iter();
    named.map(|(name, scheme)| Chosen::named(name, scheme))
}

/// Finds the scheme of this name, or reads the scheme file at this path.
pub(crate) fn resolve(name: &str) -> Result<Chosen, Failure> {
    if let Some(found) = all().find(|known| known.name == name) {
        return Ok(found);
    }
    // JSON of Twilio is read at one URL, which the name holds.
    if let Some(path) = name.strip_prefix("twilio:") {
        let scheme = Twilio::json_at(path).map_err(|error| {
            Failure::usage(
                format!("there is no scheme `{}`", escaped(name)),
                error.to_string(),
                "write path and query as they are configured at Twilio: twilio:/hooks?a=1",
            )
        })?;
        return Ok(Chosen {
            name: name.to_owned(),
            path: Some(path.to_owned()),
            ..Chosen::named("twilio", AnyScheme::Twilio(scheme))
        });
    }
    if name.ends_with(".toml") || name.contains('/') {
        return file::read(Path::new(name));
    }
    let known: Vec<String> = all().map(|known| known.name).collect();
    let advice = match nearest(name, known.iter().map(String::as_str)) {
        Some(nearest) => format!("did you mean `{nearest}`? `countersign scheme list` lists all"),
        None => "`countersign scheme list` lists all schemes; a scheme file ends in .toml".into(),
    };
    Err(Failure::usage(
        format!("there is no scheme `{}`", escaped(name)),
        "it is neither the name of a scheme nor a file that ends in .toml",
        advice,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the library's documentation, which is made of its rows.
    #[test]
    fn every_sender_has_a_name() {
        let table = include_str!("../../../src/scheme/webhooks/senders.md");
        let presets = table
            .lines()
            .filter_map(|line| line.strip_prefix("| [`")?.split('`').next());
        let presets: Vec<&str> = presets.collect();
        assert!(presets.len() >= 16, "{presets:?}");
        for preset in presets {
            // `StandardWebhooks::svix` is `svix`.
            let wanted = preset.rsplit("::").next().unwrap().to_lowercase();
            // `BoxWebhooks` is `box`: the type has not the name of the standard library's.
            let wanted = wanted
                .strip_prefix("box")
                .map_or(wanted.as_str(), |_| "box");
            let is_named = all().any(|known| known.name.replace('-', "") == wanted);
            assert!(is_named, "{preset}");
        }
    }

    #[test]
    fn the_nearest_name_is_proposed() {
        let advice = |name: &str| resolve(name).unwrap_err().advice;
        for (wrong, right) in [
            ("strip", "`stripe`"),
            ("GitHub", "`github`"),
            ("standard_webhooks", "`standard-webhooks`"),
            ("http-message-signature", "`http-message-signatures`"),
        ] {
            assert!(advice(wrong).contains(right), "{wrong}: {}", advice(wrong));
        }
        assert!(!advice("nothing-like-it").contains("did you mean"));
        assert!(advice("twilio:hooks").contains("twilio:/hooks"));
        assert_eq!(
            resolve("twilio:/hooks?a=1").unwrap().name,
            "twilio:/hooks?a=1"
        );
    }
}
