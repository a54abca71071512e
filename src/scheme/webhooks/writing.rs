//! How a request is signed as a row of the catalogue says.

use http::request::Parts;

use super::{
    format::{Fields, Place, Webhooks},
    sender::{Macs, Time},
    url::{check_boundary, outgoing_target},
};
use crate::{
    error::SignError,
    message::{HashOutput, Target, write_time},
    proof::{Parameters, Unsigned},
    scheme::{Signing, fields::header_value, signs_under},
};

impl Webhooks {
    /// Writes the parameters of the head.
    pub(super) fn write_parameters(
        &self,
        parts: &mut Parts,
        signing: &Signing<'_>,
    ) -> Result<Unsigned, SignError> {
        if let Some(id) = self.account.fixed() {
            signs_under(id, signing)?;
        }
        let mut fields = Fields::default();
        if let Some(name) = &self.id {
            self.check_id(name, signing.nonce)?;
            fields.id = signing.nonce;
            parts.headers.insert(name, header_value(fields.id)?);
        }
        let time = match self.sender.time {
            Time::Header(..) | Time::Element(_) => write_time(signing.now, self.time_unit()),
            Time::None | Time::Member(..) => String::new(),
        };
        fields.time = time.as_bytes();
        if let Some(name) = &self.time {
            parts.headers.insert(name, header_value(fields.time)?);
        }
        let mut signed_headers = String::new();
        if let Some(name) = &self.signed_headers {
            let mut names: Vec<_> = self.time.iter().chain([name]).collect();
            names.sort_unstable_by_key(|name| name.as_str());
            let names: Vec<_> = names.into_iter().map(|name| name.as_str()).collect();
            signed_headers = names.join(",");
            let value = header_value(signed_headers.as_bytes())?;
            parts.headers.insert(name, value);
        }
        fields.signed_headers = &signed_headers;
        let target = match self.url {
            Some(side) => {
                check_boundary(signing.body, side)?;
                Some(outgoing_target(parts)?)
            }
            None if self.profile.covers_place => {
                Some(Target::of_outgoing(&parts.uri, &parts.headers)?)
            }
            None => None,
        };
        let place = Place {
            method: &parts.method,
            target: target.as_ref(),
            headers: &parts.headers,
        };
        let message = self.message(place, fields)?;
        Ok(Unsigned {
            parameters: Parameters {
                delivery_id: None,
                key_id: self.account.id().clone(),
                signed_at: Some(signing.now),
                expires_at: None,
                nonce: None,
            },
            message,
        })
    }

    /// Writes the header of the signature.
    pub(super) fn write_mac(
        &self,
        parts: &mut Parts,
        unsigned: &Unsigned,
        mac: &HashOutput,
    ) -> Result<(), SignError> {
        let mac = self.sender.encoding.encode(mac.as_ref());
        let value = match self.sender.macs {
            Macs::Single { prefix } => format!("{prefix}{mac}"),
            Macs::List {
                separator,
                name,
                binder,
            } => {
                let signed_at = unsigned.parameters.signed_at;
                let time = match (self.sender.time, signed_at) {
                    (Time::Element(time), Some(signed_at)) => {
                        format!("{time}{binder}{}{separator}", signed_at.as_secs())
                    }
                    _ => String::new(),
                };
                format!("{time}{name}{binder}{mac}")
            }
        };
        let value = header_value(value.as_bytes())?;
        parts.headers.insert(&self.signature, value);
        Ok(())
    }
}
