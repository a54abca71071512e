//! The vocabulary in which the files of the catalogue are written.

use std::time::Duration;

pub(super) const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 60 * 60)
}

pub(super) const fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 60 * 60)
}

pub(super) const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

/// Makes a preset of a row: its type, with what every preset has. A row that is `like` another one
/// says what differs.
macro_rules! sender {
    (
        $(#[$docs:meta])*
        $preset:ident = $row:ident $key_id:literal { like $other:ident; $($field:tt)* }
    ) => {
        sender!(@ $(#[$docs])* $preset $row $key_id $other { $($field)* });
    };
    (
        $(#[$docs:meta])*
        $preset:ident = $row:ident $key_id:literal { $($field:tt)* }
    ) => {
        sender!(
            @ $(#[$docs])* $preset $row $key_id ($crate::scheme::webhooks::sender::PLAIN)
            { $($field)* }
        );
    };
    (
        @ $(#[$docs:meta])*
        $preset:ident $row:ident $key_id:literal $other:tt { $($field:tt)* }
    ) => {
        $(#[$docs])*
        #[derive(Clone, Debug)]
        pub struct $preset($crate::scheme::webhooks::format::Webhooks);

        pub(in super::super) static $row: $crate::scheme::webhooks::sender::Sender =
            $crate::scheme::webhooks::sender::Sender {
                preset: stringify!($preset),
                key_id: $key_id,
                $($field)*
                ..$other
            };

        impl $preset {
            /// The format, with every default.
            #[must_use]
            pub fn new() -> Self {
                Self($crate::scheme::webhooks::format::Webhooks::of(&$row))
            }

            key_id!($key_id, 0.set_key_id);

            key_id_from_path!($preset, 0.set_key_parameter);
        }

        impl Default for $preset {
            fn default() -> Self {
                Self::new()
            }
        }

        impl $crate::scheme::Format for $preset {
            type Described = $crate::scheme::webhooks::format::Webhooks;

            fn format(self) -> Self::Described {
                self.0
            }
        }
    };
}

/// The setter of a preset that remembers its deliveries for longer than they are fresh.
macro_rules! retention {
    ($preset:ident => $what:literal, $min:literal, $default:literal) => {
        impl $preset {
            #[doc = concat!("For how long ", $what, ": between ", $min, " and 1 year (checked when a")]
            #[doc = concat!("verifier is built). Default: ", $default, ".")]
            #[must_use]
            pub fn retention(mut self, retention: std::time::Duration) -> Self {
                self.0.set_retention(retention);
                self
            }
        }
    };
}

/// The setter of a preset whose sender names its deliveries in a header that nothing covers.
macro_rules! delivery_id {
    ($preset:ident, $header:literal) => {
        impl $preset {
            #[doc = concat!("Takes `", $header, "` into what tells deliveries apart. Default: the signed")]
            /// message alone.
            ///
            /// Two events with one body then count as two. But the signature does not cover this
            /// header: anybody who captured a delivery can send it again with other values, as
            /// often as they like while the delivery is fresh. Each is handled, and is recorded for
            /// as long as deliveries are remembered, up to the quota of the key. A delivery without
            /// the header is refused.
            #[must_use]
            pub fn danger_delivery_id(mut self) -> Self {
                self.0.take_delivery_id();
                self
            }
        }
    };
}
