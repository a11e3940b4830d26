use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::root::{self, RootFile};

const VAULT: Id = *b"the vault's id..";

struct Holders {
    directory: TempDir,
    shares: Vec<SecretString>,
}

impl Holders {
    fn of(threshold: u8, shares: u8) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (custody, shares) = Shares::deal(VAULT, threshold, shares).unwrap();
        root::create(&directory.path().join("keys/root"), &custody, VAULT).unwrap();
        Self { directory, shares }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("keys/root")
    }

    fn file(&self) -> RootFile {
        root::look(&self.path()).unwrap()
    }

    /// Opens with the shares of these numbers, from 0.
    fn open(&self, numbers: &[usize]) -> Result<[u8; 32], KeysError> {
        let file = self.file();
        let given = numbers.iter().map(|number| file.share(&self.shares[*number])).collect::<Result<Vec<_>, _>>()?;
        Ok(*root::open(&self.path(), &Shares::combine(&file, &given)?)?.secret().bytes())
    }
}

fn fault<T>(result: Result<T, KeysError>) -> ShareFault {
    match result {
        Err(KeysError::Share(fault)) => fault,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was taken"),
    }
}

#[test]
fn any_three_of_five_open_it_and_no_two_do() {
    let holders = Holders::of(3, 5);
    let all = holders.open(&[0, 1, 2, 3, 4]).unwrap();
    for a in 0..5 {
        for b in 0..5 {
            let two = holders.open(&[a, b]);
            assert_eq!(fault(two), if a == b { ShareFault::Repeated } else { ShareFault::TooFew });
            for c in (0..5).filter(|c| ![a, b].contains(c) && a != b) {
                assert_eq!(holders.open(&[a, b, c]).unwrap(), all);
            }
        }
    }
    assert_eq!(fault(holders.open(&[1, 1, 1])), ShareFault::Repeated);
    assert_eq!(holders.file().shares(), Some((3, 5)));
}

/// What two of three holders can put together by themselves, past the count of the vault, is another key.
#[test]
fn two_shares_interpolate_to_another_key() {
    let holders = Holders::of(3, 5);
    let file = holders.file();
    let three: Vec<_> = holders.shares[..3].iter().map(|text| file.share(text).unwrap()).collect();
    let key = Shares::combine(&file, &three).unwrap().key;
    for pair in [[0, 1], [0, 2], [1, 2]] {
        let parts: Vec<_> = pair.iter().map(|n: &usize| blahaj::Share::try_from(&three[*n].0[35..]).unwrap()).collect();
        assert_ne!(Sharks(2).recover(&parts).unwrap(), key.bytes());
    }
    for share in &three {
        assert_ne!(&share.0[36..], key.bytes());
    }
}

#[test]
fn a_share_says_what_is_wrong_with_it() {
    let (holders, older) = (Holders::of(2, 3), Holders::of(2, 3));
    let file = holders.file();
    let text = holders.shares[0].expose_secret().to_owned();
    let faulty = |text: &str| fault(file.share(&text.to_owned().into()));
    // Copied in capitals, with spaces, it is the same.
    assert_eq!(file.share(&text.to_uppercase().replace('-', " ").into()).unwrap().number(), 1);
    assert_eq!(faulty(""), ShareFault::Damaged);
    assert_eq!(faulty(&text[..text.len() - 1]), ShareFault::Damaged);
    assert_eq!(faulty(&format!("{text}0")), ShareFault::Damaged);
    for place in 0..text.len() {
        let other = if text.as_bytes()[place] == b'7' { "8" } else { "7" };
        if text.as_bytes()[place] != b'-' {
            assert_eq!(faulty(&[&text[..place], other, &text[place + 1..]].concat()), ShareFault::Damaged, "{place}");
        }
    }
    assert_eq!(faulty(older.shares[0].expose_secret()), ShareFault::Old);
    let (_, foreign) = Shares::deal(*b"another vault...", 2, 3).unwrap();
    assert_eq!(faulty(foreign[0].expose_secret()), ShareFault::Foreign);
    // Changed by somebody who made the checksum anew.
    for place in 33..CHECKED {
        let mut forged = file.share(&holders.shares[0]).unwrap();
        forged.0[place] ^= 1;
        assert_eq!(fault(file.share(&forged.text())), ShareFault::Wrong, "{place}");
    }
}

#[test]
fn a_new_deal_makes_the_old_shares_useless() {
    let holders = Holders::of(2, 3);
    let before = holders.open(&[0, 2]).unwrap();
    let (custody, fresh) = Shares::deal(VAULT, 2, 3).unwrap();
    root::stage(&holders.path(), &custody, VAULT).unwrap();
    root::install(&holders.path()).unwrap();
    assert_eq!(fault(holders.open(&[0, 2])), ShareFault::Old);
    let fresh = Holders { directory: holders.directory, shares: fresh };
    assert_ne!(fresh.open(&[1, 2]).unwrap(), before);
}

#[test]
fn only_sensible_deals_are_made_and_read() {
    for (threshold, shares) in [(0, 3), (1, 3), (4, 3), (2, 17), (0, 0)] {
        assert!(matches!(Shares::deal(VAULT, threshold, shares), Err(KeysError::Misuse(_))), "{threshold}-of-{shares}");
    }
    let holders = Holders::of(16, 16);
    holders.open(&Vec::from_iter(0..16)).unwrap();
    let whole = std::fs::read(holders.path()).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(root::parse(&flipped), Err(KeysError::Damaged)), "bit {bit}");
    }
}

#[test]
fn another_credential_is_told_which_way_the_root_key_is_held() {
    let holders = Holders::of(2, 2);
    let passphrase: SecretString = "correct horse".to_owned().into();
    let refused = root::open(&holders.path(), &passphrase);
    assert!(matches!(refused, Err(KeysError::OtherCustody(Provider::Shares))));
    let (custody, _) = Shares::deal(VAULT, 2, 2).unwrap();
    assert_eq!(fault(root::open(&holders.path(), &custody)), ShareFault::Old);
}
