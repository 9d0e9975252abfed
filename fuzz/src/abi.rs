//! Guest memory as the canonical ABI lays values out. All records here are made of words of 32 bits: strings and lists are
//! address and length, what is smaller than a word is the low end of one.

/// A piece of guest memory.
pub(crate) struct Memory {
    base: u32,
    bytes: Vec<u8>,
}

impl Memory {
    /// With room for a value of that many words at its beginning.
    pub fn new(base: u32, words: usize) -> Self {
        Self { base, bytes: vec![0; 4 * words] }
    }

    /// Puts bytes where nothing is yet: their address.
    fn put(&mut self, bytes: &[u8]) -> u32 {
        // For elements of up to 64 bits.
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let at = self.base + self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        at
    }

    /// A list whose elements have `width` bytes.
    pub fn list(&mut self, width: usize, elements: &[u8]) -> [u32; 2] {
        [self.put(elements), (elements.len() / width) as u32]
    }

    /// A list of bytes, a string.
    pub fn bytes(&mut self, bytes: impl AsRef<[u8]>) -> [u32; 2] {
        self.list(1, bytes.as_ref())
    }

    /// A list of records of `N` words.
    pub fn records<const N: usize>(&mut self, records: &[[u32; N]]) -> [u32; 2] {
        self.list(4 * N, &le_bytes(records.as_flattened()))
    }

    /// The memory, its first words set.
    pub fn finish(mut self, first: &[u32]) -> Vec<u8> {
        self.bytes[..4 * first.len()].copy_from_slice(&le_bytes(first));
        self.bytes
    }
}

/// Words as they lie in memory.
pub(crate) fn le_bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
