//! What looks like a fault and is none, each as a service of the world writes it.

use dashmap::DashMap;

struct Ledger {
    balances: DashMap<String, i64>,
    processed: DashMap<String, String>,
}

impl Ledger {
    // The balance of an account is no mark: a lost update is another fault.
    fn debit(&self, event: &Event) -> bool { // fine: used-get-then-set
        let Some(balance) = self.balances.get(&event.account).map(|it| *it) else {
            return false;
        };
        if balance < event.amount {
            return false;
        }
        self.balances.insert(event.account, balance - event.amount);
        true
    }

    fn once(&self, event: &Event) -> bool {
        if self.processed.contains_key(&event.account) {
            return false;
        }
        self.processed.insert(event.account, event.answer()); // expect: used-get-then-set
        true
    }
}
