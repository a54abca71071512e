//! The account that a delivery is for: the key id of a preset, or a parameter of the route.

use std::borrow::Cow;

use crate::{
    error::{Fault, FaultKind},
    key::KeyId,
    message::Head,
    proof::invalid,
};

/// Says under which key id deliveries are verified: no delivery says so itself.
#[derive(Clone, Debug)]
pub(super) struct Account {
    id: Cow<'static, str>,
    parameter: Option<String>,
}

impl Account {
    /// One key id for all deliveries.
    pub(super) const fn new(id: &'static str) -> Self {
        Self {
            id: Cow::Borrowed(id),
            parameter: None,
        }
    }

    pub(super) fn set_id(&mut self, id: String) {
        self.id = id.into();
    }

    /// From now on, this parameter of the route names it.
    pub(super) fn set_parameter(&mut self, name: String) {
        self.parameter = Some(name);
    }

    /// The key id that a request with this head is under.
    pub(super) fn of(&self, head: &Head<'_>) -> Result<Cow<'_, str>, Fault> {
        let Some(name) = &self.parameter else {
            return Ok(Cow::Borrowed(&self.id));
        };
        match head.target.route_parameter(name) {
            Some(id) if KeyId::is_valid(id.as_bytes()) => Ok(Cow::Owned(id.to_owned())),
            Some(_) => Err(invalid(format!(
                "parameter `{name}` of the path is not a key id"
            ))),
            None => Err(Fault::new(
                FaultKind::KeysUnavailable,
                format!(
                    "the route has no parameter `{name}`, which is the key id; put the layer on \
                     routes of Axum that have it, such as `/webhooks/{{{name}}}`"
                ),
            )),
        }
    }

    /// The one key id, if no route names another.
    pub(super) fn fixed(&self) -> Option<&str> {
        self.parameter.is_none().then_some(&*self.id)
    }

    /// The key id of a signer, whose requests nobody routed yet.
    pub(super) fn id(&self) -> &Cow<'static, str> {
        &self.id
    }
}
