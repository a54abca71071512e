//! Terraform Cloud.

use super::row::days;
use crate::key::MacAlgorithm;

sender! {
    /// Notifications of HCP Terraform, formerly [Terraform
    /// Cloud](https://developer.hashicorp.com/terraform/cloud-docs/api-docs/notification-configurations),
    /// and of Terraform Enterprise.
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-TFE-Notification-Signature: <hex>`, with HMAC-SHA512 |
    /// | covered | the body. Not the time |
    /// | secret | the token of the notification configuration, as shown; the key id is `terraform-cloud` |
    /// | fresh for | no limit |
    /// | used once by | the body, which names the run and its status with a time: there is no event id |
    /// | remembered for | 30 days: HashiCorp does not document retries |
    ///
    /// The request that verifies a new configuration is signed too, and goes to the handler: answer it with
    /// success.
    ///
    /// # Limits
    /// - A captured delivery can be sent again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - Two deliveries whose bodies are equal to the last byte count as one.
    /// - Method, path and headers are not covered: put the layer on the one route that takes these
    ///   webhooks, because at another path a captured delivery counts as another.
    ///
    /// The format is that of HashiCorp's documentation.
    TerraformCloud = TERRAFORM_CLOUD "terraform-cloud" {
        source: "https://developer.hashicorp.com/terraform/cloud-docs/api-docs/notification-configurations",
        header: "X-TFE-Notification-Signature",
        algorithm: MacAlgorithm::HmacSha512,
        remembered: Some(days(30)),
    }
}

retention!(TerraformCloud => "a delivery is remembered", "1 hour", "30 days");
