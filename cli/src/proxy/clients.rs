//! How much one client may take up: its connections, and its requests.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

/// Counts what each client holds, up to a limit.
#[derive(Debug)]
pub(super) struct Clients {
    limit: usize,
    /// Clients that hold something. `None` are those that nobody knows, together.
    held: Mutex<HashMap<Option<IpAddr>, usize>>,
}

/// A connection or a request of a client.
#[derive(Debug)]
pub(super) struct Held {
    client: Option<IpAddr>,
    clients: Arc<Clients>,
}

impl Clients {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            held: Mutex::default(),
        })
    }

    /// Counts one more, unless the client holds as much as it may.
    pub(super) fn hold(self: &Arc<Self>, client: Option<IpAddr>) -> Option<Held> {
        let client = client.map(whole);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(client).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        drop(held);
        let clients = Arc::clone(self);
        Some(Held { client, clients })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let held = self.clients.held.lock();
        let mut held = held.unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.client);
            }
        }
    }
}

/// The addresses that one client has: of IPv6 a network of 64 bits, which it may choose from.
fn whole(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_holds_up_to_its_limit_and_nothing_is_kept_of_one_that_has_gone() {
        let clients = Clients::new(2);
        let hold = |address: &str| clients.hold(Some(address.parse().unwrap()));
        let one = hold("10.0.0.1").unwrap();
        let two = hold("::ffff:10.0.0.1").unwrap();
        assert!(hold("10.0.0.1").is_none());
        // The twins: another client, and one that nobody knows.
        let other = hold("10.0.0.2").unwrap();
        let unknown = clients.hold(None).unwrap();
        drop(one);
        let again = hold("10.0.0.1").unwrap();
        assert!(hold("10.0.0.1").is_none());
        // A client of IPv6 may choose from its network.
        let six = [hold("2001:db8::1").unwrap(), hold("2001:db8::2").unwrap()];
        assert!(hold("2001:db8::ffff:0:0:3").is_none());
        assert!(hold("2001:db8:0:1::1").is_some());
        drop((two, other, unknown, again, six));
        assert!(clients.held.lock().unwrap().is_empty());
    }
}
