use super::*;
use crate::testing::{Ca, CrlSketch, der};

fn read(change: impl FnOnce(&mut CrlSketch)) -> Result<usize, CrlError> {
    let root = Ca::root("Root");
    let leaf = root.client("leaf", |_| {});
    Crl::parse(&root.crl_pem(&[&leaf.certificate], change)).map(|crls| crls.len())
}

#[test]
fn it_reads_pem_and_der() {
    let root = Ca::root("Root");
    let pem = root.crl_pem(&[], |_| {});
    assert_eq!(Crl::parse(&pem).unwrap().len(), 1);
    assert_eq!(Crl::parse(&[pem.as_slice(), b"\n", &pem].concat()).unwrap().len(), 2);
    let whole = pem::blocks(&pem).unwrap()[0].contents().to_vec();
    assert_eq!(Crl::parse(&whole).unwrap().len(), 1);
    assert_eq!(Crl::parse(&[whole.as_slice(), &[0]].concat()).err(), Some(CrlError::Malformed));
    assert_eq!(Crl::parse(&whole[..whole.len() - 1]).err(), Some(CrlError::Malformed));
    assert_eq!(Crl::parse(&pem[..pem.len() - 30]).err(), Some(CrlError::Malformed));
    assert_eq!(Crl::parse(b"").err(), Some(CrlError::Malformed));
    assert_eq!(Crl::parse(root.pem().as_bytes()).err(), Some(CrlError::Other));
    assert_eq!(Crl::parse(&vec![0; CRL_MAX_BYTES + 1]).err(), Some(CrlError::TooLarge));
}

#[test]
fn it_takes_only_complete_lists_with_an_end() {
    assert_eq!(read(|_| {}), Ok(1));
    assert_eq!(read(|sketch| sketch.next_update = None), Err(CrlError::NoEnd));
    assert_eq!(read(|sketch| sketch.raw.push(("2.5.29.27", true, vec![0x02, 1, 1]))), Err(CrlError::Delta));
    assert_eq!(read(|sketch| sketch.raw.push(("2.5.29.27", false, vec![0x02, 1, 1]))), Err(CrlError::Delta));
    let users_only = der(0x30, &[&[0x81, 1, 0xFF]]);
    assert_eq!(read(|sketch| sketch.raw.push(("2.5.29.28", true, users_only))), Err(CrlError::Partial));
    let unknown =
        |critical| move |sketch: &mut CrlSketch| sketch.raw.push(("1.3.6.1.4.1.99999.1", critical, vec![5, 0]));
    assert_eq!(read(unknown(true)), Err(CrlError::Critical("1.3.6.1.4.1.99999.1".to_owned())));
    assert_eq!(read(unknown(false)), Ok(1));
}

#[test]
fn its_entries_are_about_its_own_ca() {
    let names = der(0x30, &[&der(0xA4, &[&der(0x30, &[])])]);
    assert_eq!(read(|sketch| sketch.entry.push(("2.5.29.29", true, names))), Err(CrlError::Partial));
    let unknown = ("1.3.6.1.4.1.99999.1", true, vec![5, 0]);
    assert_eq!(read(|sketch| sketch.entry.push(unknown)), Err(CrlError::Critical("1.3.6.1.4.1.99999.1".to_owned())));
    assert_eq!(read(|sketch| sketch.entry.push(("2.5.29.21", false, vec![0x0A, 1, 1]))), Ok(1));
}

#[test]
fn an_entry_that_is_to_be_taken_off_is_still_on_it() {
    let root = Ca::root("Root");
    let leaf = root.client("leaf", |_| {});
    let crl = root.crl(&[&leaf.certificate], |sketch| sketch.entry.push(("2.5.29.21", false, vec![0x0A, 1, 8])));
    assert!(crl.lists(&leaf.certificate));
}

#[test]
fn fuzz_no_bytes_are_a_panic() {
    let pem = Ca::root("Root").crl_pem(&[], |_| {});
    let whole = pem::blocks(&pem).unwrap()[0].contents().to_vec();
    bolero::check!().with_iterations(5_000).with_type::<(Vec<u8>, Vec<(u16, u8)>)>().for_each(|(bytes, changes)| {
        let _ = Crl::parse(bytes);
        let _ = Crl::parse(&changed(&whole, changes));
        let _ = Crl::parse(&changed(&pem, changes));
    });
}

/// A good one with some bytes changed: nearly right is where parsers fall.
fn changed(good: &[u8], changes: &[(u16, u8)]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for (at, byte) in changes {
        let at = usize::from(*at) % bytes.len();
        bytes[at] = *byte;
    }
    bytes
}
