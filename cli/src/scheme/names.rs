//! Which scheme is meant: by its name, or by the file that describes it.

use std::path::Path;

use super::{
    any::AnyScheme,
    chosen::{Chosen, SecretForm},
    file,
    nearest::nearest,
};
use crate::{exit::Failure, printer::escaped};

/// Every scheme that has a name.
pub(crate) fn all() -> impl Iterator<Item = Chosen> {
    AnyScheme::named().into_iter().map(|(name, scheme)| Chosen {
        name: name.to_owned(),
        scheme,
        secret: SecretForm::OfScheme,
        key_id: None,
        headers: Vec::new(),
        path: None,
    })
}

/// Finds the scheme of this name, or reads the scheme file at this path.
pub(crate) fn resolve(name: &str) -> Result<Chosen, Failure> {
    if let Some(found) = all().find(|known| known.name == name) {
        return Ok(found);
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
