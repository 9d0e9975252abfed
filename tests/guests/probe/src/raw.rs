//! Calls of the host's functions with arguments that the generated bindings would not pass.

#[link(wasm_import_module = "lakemill:transform/batches@0.1.0")]
unsafe extern "C" {
    #[link_name = "[method]batch.len"]
    fn batch_len(handle: u32) -> u32;
    #[link_name = "[method]batch.schema"]
    fn batch_schema(handle: u32, image: u32, result: *mut [u32; 2]);
    #[link_name = "[resource-drop]batch"]
    fn batch_drop(handle: u32);
}

#[link(wasm_import_module = "lakemill:transform/panic@0.1.0")]
unsafe extern "C" {
    #[link_name = "say"]
    fn panic_say(text: *const u8, bytes: usize);
}

/// Says last words that are no text.
pub fn say(bytes: &[u8]) {
    unsafe { panic_say(bytes.as_ptr(), bytes.len()) }
}

/// `batch.len` of any handle.
pub fn len(handle: u32) -> u32 {
    unsafe { batch_len(handle) }
}

/// The number of columns of an image by number, also one that does not exist.
pub fn schema_of_image(handle: u32, image: u32) -> u32 {
    let mut result = [0; 2];
    unsafe { batch_schema(handle, image, &mut result) };
    result[1]
}

/// Drops a handle that is still in use.
pub fn drop_batch(handle: u32) {
    unsafe { batch_drop(handle) }
}
