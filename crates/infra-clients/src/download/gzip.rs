//! Decompression within a limit: a small file can grow a thousandfold.

use std::io::Read;

use flate2::read::MultiGzDecoder;

/// Decompresses a gzip file.
///
/// # Errors
/// If it is none, or larger than `limit` bytes once decompressed: the text says which.
pub fn gunzip(compressed: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(compressed)
        .take(most)
        .read_to_end(&mut content)
        .map_err(|error| format!("it is no whole gzip file ({error})"))?;
    if content.len() > limit {
        return Err(format!("it is larger than {limit} bytes once decompressed"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn a_file_grows_no_further_than_the_limit() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![0; 10 << 20]).unwrap();
        let bomb = encoder.finish().unwrap();
        assert!(bomb.len() < 20_000);
        assert_eq!(gunzip(&bomb, 10 << 20).unwrap().len(), 10 << 20);
        let error = gunzip(&bomb, (10 << 20) - 1).unwrap_err();
        assert!(error.contains("once decompressed"), "{error}");
        let error = gunzip(&bomb[..bomb.len() - 1], 10 << 20).unwrap_err();
        assert!(error.contains("no whole gzip file"), "{error}");
        assert!(gunzip(b"hello", 100).is_err());
        // Several members are one file.
        let two = [bomb.clone(), bomb].concat();
        assert!(gunzip(&two, 10 << 20).is_err());
    }
}
