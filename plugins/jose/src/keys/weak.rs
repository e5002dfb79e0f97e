//! Checks for weak RSA keys, whose private half can be found out, or is not needed to sign.

use super::{
    error::KeyError,
    limits::{RSA_MAX_BITS, RSA_MIN_BITS},
};

/// The longest public exponent, in bytes. A long one makes verifying as slow as signing.
const MAX_EXPONENT_BYTES: usize = 4;

/// Checks a modulus and an exponent, both without zeros before them.
pub(super) fn check_rsa(n: &[u8], e: &[u8]) -> Result<(), KeyError> {
    let leading_zeros = n.first().map_or(0, |first| first.leading_zeros() as usize);
    match n.len() * 8 - leading_zeros {
        bits if bits < RSA_MIN_BITS => return Err(KeyError::RsaShort(bits)),
        bits if bits > RSA_MAX_BITS => return Err(KeyError::RsaLong(bits)),
        _ => {}
    }
    if !is_safe_exponent(e) {
        return Err(KeyError::RsaExponent);
    }
    if is_roca(n) { Err(KeyError::RsaRoca) } else { Ok(()) }
}

/// Odd, at least 3, and short.
fn is_safe_exponent(e: &[u8]) -> bool {
    e.last().is_some_and(|last| last % 2 == 1) && e != [1] && e.len() <= MAX_EXPONENT_BYTES
}

/// The odd primes below 168: those that every key of the faulty generator shows its fingerprint modulo.
const ROCA_PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Returns `true` if a modulus was made by the generator in Infineon's chips (CVE-2017-15361, "ROCA"), whose keys can
/// be factored.
///
/// Both primes of such a key are `k * M + (65537^a mod M)`, where `M` is the product of the first primes. So modulo each
/// of these the key is a power of 65537. Of other keys of this length one in 2^154 is: Nemec, Sys, Svenda, Klinec,
/// Matyas, "The Return of Coppersmith's Attack", ACM CCS 2017, section 3.
fn is_roca(n: &[u8]) -> bool {
    ROCA_PRIMES.iter().all(|prime| {
        let remainder = n.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let mut powers = std::iter::successors(Some(1), |power| Some(power * 65_537 % prime).filter(|next| *next != 1));
        powers.any(|power| power == remainder)
    })
}

#[cfg(test)]
mod tests {
    use openssl::bn::{BigNum, BigNumContext};

    use super::*;

    /// A prime of this many bits as the faulty generator made them; `a` is the exponent it chose.
    fn infineon_prime(bits: i32, a: u32, context: &mut BigNumContext) -> BigNum {
        // For keys of 1984 to 3936 bits, `M` is the product of the first 126 primes, up to 701.
        let primes = (2..=701_u32).filter(|n| (2..*n).all(|divisor| n % divisor != 0));
        let product = primes.fold(BigNum::from_u32(1).unwrap(), |mut product, prime| {
            product.mul_word(prime).unwrap();
            product
        });
        let mut power = BigNum::new().unwrap();
        let (base, exponent) = (BigNum::from_u32(65_537).unwrap(), BigNum::from_u32(a).unwrap());
        power.mod_exp(&base, &exponent, &product, context).unwrap();
        let mut k = BigNum::new().unwrap();
        k.rand(bits - product.num_bits(), openssl::bn::MsbOption::TWO_ONES, false).unwrap();
        loop {
            let mut prime = BigNum::new().unwrap();
            prime.checked_mul(&k, &product, context).unwrap();
            let prime = &prime + &power;
            if prime.is_prime(20, context).unwrap() {
                return prime;
            }
            k.add_word(1).unwrap();
        }
    }

    #[test]
    fn keys_of_the_faulty_generator_are_refused() {
        let mut context = BigNumContext::new().unwrap();
        let [p, q] = [4_711, 815].map(|a| infineon_prime(1024, a, &mut context));
        let n = (&p * &q).to_vec();
        assert_eq!(check_rsa(&n, &[1, 0, 1]), Err(KeyError::RsaRoca));
    }

    #[test]
    fn keys_of_others_are_taken() {
        for _ in 0..3 {
            let n = openssl::rsa::Rsa::generate(2048).unwrap().n().to_vec();
            assert_eq!(check_rsa(&n, &[1, 0, 1]), Ok(()));
        }
    }
}
