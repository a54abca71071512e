//! One of the library's schemes, chosen while the command runs.

use std::fmt;

use countersign::{
    ConfigError, HeaderScheme, HttpMessageSignatures, Signer, Verifier, inspect::Inspector,
    request::VerifierBuilder, webhooks,
};

macro_rules! schemes {
    ($($(#[$docs:meta])* $variant:ident($of:ty) $(= $name:literal $make:expr)?;)*) => {
        /// One of the library's schemes.
        #[derive(Clone)]
        pub(crate) enum AnyScheme {
            $($(#[$docs])* $variant($of),)*
        }

        impl AnyScheme {
            /// Every name, and the scheme behind it.
            pub(super) fn named() -> Vec<(&'static str, Self)> {
                [$($(($name, Self::$variant($make)),)?)*].into()
            }

            /// A signer for a scheme whose requests name no key.
            pub(crate) fn signer(&self, secret: &str) -> Result<Signer, ConfigError> {
                match self.clone() {
                    $(Self::$variant(scheme) => Signer::with_secret(scheme, secret),)*
                }
            }

            /// A signer under this key.
            pub(crate) fn signer_under(
                &self,
                key_id: &str,
                secret: countersign::Secret,
            ) -> Result<Signer, ConfigError> {
                match self.clone() {
                    $(Self::$variant(scheme) => Signer::new(scheme, key_id, secret),)*
                }
            }

            /// An inspector, for any authority.
            pub(crate) fn inspector(&self) -> Inspector {
                match self.clone() {
                    $(Self::$variant(scheme) => Inspector::new(scheme),)*
                }
            }

            /// Configures a verifier.
            pub(crate) fn verifier(&self) -> VerifierBuilder<Verifier> {
                match self.clone() {
                    $(Self::$variant(scheme) => Verifier::builder(scheme),)*
                }
            }
        }
    };
}

schemes! {
    HttpMessageSignatures(HttpMessageSignatures) =
        "http-message-signatures" HttpMessageSignatures::default();
    StandardWebhooks(webhooks::StandardWebhooks) =
        "standard-webhooks" webhooks::StandardWebhooks::new();
    Svix(webhooks::StandardWebhooks) = "svix" webhooks::StandardWebhooks::svix();
    Stripe(webhooks::Stripe) = "stripe" webhooks::Stripe::new();
    GitHub(webhooks::GitHub) = "github" webhooks::GitHub::new();
    Bitbucket(webhooks::Bitbucket) = "bitbucket" webhooks::Bitbucket::new();
    Slack(webhooks::Slack) = "slack" webhooks::Slack::new();
    Shopify(webhooks::Shopify) = "shopify" webhooks::Shopify::new();
    Zoom(webhooks::Zoom) = "zoom" webhooks::Zoom::new();
    Paddle(webhooks::Paddle) = "paddle" webhooks::Paddle::new();
    Meta(webhooks::Meta) = "meta" webhooks::Meta::new();
    Linear(webhooks::Linear) = "linear" webhooks::Linear::new();
    Twilio(webhooks::Twilio) = "twilio" webhooks::Twilio::new();
    Mailgun(webhooks::Mailgun) = "mailgun" webhooks::Mailgun::new();
    Square(webhooks::Square) = "square" webhooks::Square::new();
    HubSpot(webhooks::HubSpot) = "hubspot" webhooks::HubSpot::new();
    Dropbox(webhooks::Dropbox) = "dropbox" webhooks::Dropbox::new();
    GitLab(webhooks::GitLab) = "gitlab" webhooks::GitLab::new();
    OpenAi(webhooks::OpenAi) = "openai" webhooks::OpenAi::new();
    Intercom(webhooks::Intercom) = "intercom" webhooks::Intercom::new();
    Typeform(webhooks::Typeform) = "typeform" webhooks::Typeform::new();
    Calendly(webhooks::Calendly) = "calendly" webhooks::Calendly::new();
    WooCommerce(webhooks::WooCommerce) = "woocommerce" webhooks::WooCommerce::new();
    Zendesk(webhooks::Zendesk) = "zendesk" webhooks::Zendesk::new();
    PagerDuty(webhooks::PagerDuty) = "pagerduty" webhooks::PagerDuty::new();
    Sentry(webhooks::Sentry) = "sentry" webhooks::Sentry::new();
    Asana(webhooks::Asana) = "asana" webhooks::Asana::new();
    BoxWebhooks(webhooks::BoxWebhooks) = "box" webhooks::BoxWebhooks::new();
    DocuSign(webhooks::DocuSign) = "docusign" webhooks::DocuSign::new();
    Xero(webhooks::Xero) = "xero" webhooks::Xero::new();
    QuickBooks(webhooks::QuickBooks) = "quickbooks" webhooks::QuickBooks::new();
    Razorpay(webhooks::Razorpay) = "razorpay" webhooks::Razorpay::new();
    LemonSqueezy(webhooks::LemonSqueezy) = "lemon-squeezy" webhooks::LemonSqueezy::new();
    CoinbaseCommerce(webhooks::CoinbaseCommerce) =
        "coinbase-commerce" webhooks::CoinbaseCommerce::new();
    Contentful(webhooks::Contentful) = "contentful" webhooks::Contentful::new();
    CircleCi(webhooks::CircleCi) = "circleci" webhooks::CircleCi::new();
    Buildkite(webhooks::Buildkite) = "buildkite" webhooks::Buildkite::new();
    TerraformCloud(webhooks::TerraformCloud) = "terraform-cloud" webhooks::TerraformCloud::new();
    Vercel(webhooks::Vercel) = "vercel" webhooks::Vercel::new();
    Trello(webhooks::Trello) = "trello" webhooks::Trello::new();
    Notion(webhooks::Notion) = "notion" webhooks::Notion::new();
    Line(webhooks::Line) = "line" webhooks::Line::new();
    CalCom(webhooks::CalCom) = "cal-com" webhooks::CalCom::new();
    /// A house format from a scheme file.
    Header(HeaderScheme);
}

impl AnyScheme {
    /// The text before the secrets that the provider shows, of a scheme that uses the whole text.
    pub(super) fn secret_prefix(&self) -> &'static str {
        match self {
            Self::Stripe(_) => "whsec_",
            Self::Linear(_) => "lin_wh_",
            _ => "",
        }
    }
}

impl fmt::Debug for AnyScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyScheme")
    }
}
