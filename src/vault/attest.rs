//! Statements that only the vault can make: of the audit log, and of what stands for an address.

use hmac::Mac;

use super::Vault;
use crate::domain::{audit::Link, recipient::Recipient};

impl Vault {
    /// Its statement that the audit log has this link at this number.
    pub fn attest(&self, seq: i64, link: &Link) -> [u8; 32] {
        // A likeness begins with a length, and no length begins as a label does.
        let digest = self.digest.clone().chain_update(b"pilotgate audit checkpoint");
        digest.chain_update(seq.to_be_bytes()).chain_update(link.0).finalize().into_bytes().into()
    }

    /// What stands for a recipient where its address is not to be read: the same for the same one, 32 hexadecimal digits.
    pub fn alias(&self, recipient: &Recipient) -> String {
        let digest = self.digest.clone().chain_update(b"pilotgate recipient");
        let whole: [u8; 32] = digest.chain_update(recipient.address()).finalize().into_bytes().into();
        hex::encode(&whole[..16])
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        domain::{audit::Link, recipient::Recipient, sources::Sources},
        vault::{RootKey, Vault},
    };

    fn vault(byte: u8) -> Vault {
        Vault::open(&RootKey::from_slice(&[byte; 32]).unwrap(), Sources::system())
    }

    #[test]
    fn a_statement_is_about_one_number_and_link_and_by_one_key() {
        let said = vault(1).attest(7, &Link([3; 32]));
        assert_eq!(vault(1).attest(7, &Link([3; 32])), said);
        for other in
            [vault(1).attest(8, &Link([3; 32])), vault(1).attest(7, &Link([4; 32])), vault(2).attest(7, &Link([3; 32]))]
        {
            assert_ne!(other, said);
        }
    }

    #[test]
    fn an_alias_stands_for_one_recipient() {
        let recipient = |phone: &str| Recipient::Phone(phone.parse().unwrap());
        let alias = vault(1).alias(&recipient("+5511987650101"));
        assert_eq!((alias.len(), vault(1).alias(&recipient("+5511987650101"))), (32, alias.clone()));
        assert_ne!(vault(1).alias(&recipient("+5511987650102")), alias);
        assert_ne!(vault(2).alias(&recipient("+5511987650101")), alias);
    }
}
