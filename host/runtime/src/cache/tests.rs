//! What the cache gives back, and all that it must not.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("is ours");
}

#[test]
fn gives_back_what_it_got() {
    let dir = tempfile::tempdir().expect("a folder");
    let cache = CodeCache::open(&dir.path().join("a/b")).expect("opens");
    assert_eq!(cache.get("x").expect("reads"), None);
    cache.put("x", b"code").expect("writes");
    cache.put("x", b"newer code").expect("writes");
    assert_eq!(cache.get("x").expect("reads").as_deref(), Some(&b"newer code"[..]));
    let again = CodeCache::open(&dir.path().join("a/b")).expect("opens");
    assert_eq!(again.get("x").expect("reads").as_deref(), Some(&b"newer code"[..]), "the key is kept");
    let left: Vec<_> =
        fs::read_dir(dir.path().join("a/b")).expect("lists").map(|e| e.expect("entry").file_name()).collect();
    assert_eq!(left.len(), 2, "the key and the code, nothing temporary: {left:?}");
}

#[test]
fn a_changed_bit_anywhere_is_seen() {
    let dir = tempfile::tempdir().expect("a folder");
    let cache = CodeCache::open(dir.path()).expect("opens");
    cache.put("x", b"code").expect("writes");
    let good = fs::read(cache.path("x")).expect("reads");
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(cache.path("x"), &bad).expect("writes");
        assert_eq!(cache.get("x").expect("reads"), None, "byte {at}");
        fs::write(cache.path("x"), &good[..at]).expect("writes");
        assert_eq!(cache.get("x").expect("reads"), None, "cut at {at}");
    }
}

#[test]
fn code_of_another_name_or_key_is_not_ours() {
    let dir = tempfile::tempdir().expect("a folder");
    let cache = CodeCache::open(dir.path()).expect("opens");
    cache.put("x", b"code").expect("writes");
    fs::copy(cache.path("x"), cache.path("y")).expect("copies");
    assert_eq!(cache.get("y").expect("reads"), None);

    let theirs = tempfile::tempdir().expect("a folder");
    let other = CodeCache::open(theirs.path()).expect("opens");
    fs::copy(cache.path("x"), other.path("x")).expect("copies");
    assert_eq!(other.get("x").expect("reads"), None);
}

#[test]
fn what_others_may_touch_is_not_used() {
    let dir = tempfile::tempdir().expect("a folder");
    drop(CodeCache::open(dir.path()).expect("opens"));
    let key = dir.path().join("key");
    assert_eq!(fs::metadata(&key).expect("is there").mode() & 0o777, 0o600);
    mode(&key, 0o640);
    let error = CodeCache::open(dir.path()).expect_err("others may read the key").to_string();
    assert!(error.contains("may be used by others (mode 640)"), "{error}");
    mode(&key, 0o600);
    mode(dir.path(), 0o777);
    let error = CodeCache::open(dir.path()).expect_err("others may write the folder").to_string();
    assert!(error.contains("may be written by others (mode 777)"), "{error}");
}

#[test]
fn a_torn_key_is_not_used() {
    let dir = tempfile::tempdir().expect("a folder");
    drop(CodeCache::open(dir.path()).expect("opens"));
    let key = dir.path().join("key");
    fs::write(&key, b"short").expect("writes");
    let error = CodeCache::open(dir.path()).expect_err("is no key").to_string();
    assert!(error.contains("is not a key: remove it"), "{error}");
}

#[test]
fn keeps_the_newest() {
    let dir = tempfile::tempdir().expect("a folder");
    let cache = CodeCache::open(dir.path()).expect("opens");
    for n in 0..FILES_MAX + 3 {
        cache.put(&format!("{n:03}"), b"code").expect("writes");
        let file = fs::File::open(cache.path(&format!("{n:03}"))).expect("opens");
        file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n as u64)).expect("sets");
    }
    cache.put("last", b"code").expect("writes");
    assert_eq!(cache.get("000").expect("reads"), None);
    assert!(cache.get("last").expect("reads").is_some());
    let codes = fs::read_dir(dir.path())
        .expect("lists")
        .filter(|e| e.as_ref().expect("entry").path().extension().is_some_and(|ext| ext == "code"));
    assert_eq!(codes.count(), FILES_MAX);
}

#[test]
fn hmac_is_that_of_the_standards() {
    // RFC 4231, test case 1: 20 bytes of 0x0b, which is the same key as 32 bytes with 12 zeros behind.
    let mut key = [0; KEY_BYTES];
    key[..20].fill(0x0b);
    let mac = hex(&hmac_sha256(&key, &[b"Hi ", b"There"]));
    assert_eq!(mac, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
}

#[test]
fn the_name_depends_on_component_and_engine() {
    let engine = |epochs| {
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(epochs);
        wasmtime::Engine::new(&config).expect("an engine")
    };
    assert_eq!(name("d", &engine(true)), name("d", &engine(true)));
    assert_ne!(name("d", &engine(true)), name("d", &engine(false)));
    assert!(name("d", &engine(true)).starts_with("d-"));
}
