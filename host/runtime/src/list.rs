//! Lists that go into guest memory straight from Arrow's buffers: one copy, no `Vec` between.
//!
//! wasmtime lowers slices, vectors and `Arc<[T]>`; an Arrow buffer is none of them. [`List`] says to wasmtime
//! "treat me as the slice that I hold" and does nothing of its own.

use std::mem::MaybeUninit;

use arrow_buffer::{ArrowNativeType, Buffer, ScalarBuffer};
use wasmtime::Result;
use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LowerContext};
use wasmtime::component::{ComponentType, Lower};

/// A `list<T>` backed by an Arrow buffer. `T` is a number, so that wasmtime copies it in one piece.
#[derive(Clone, Debug)]
pub(crate) struct List<T: ArrowNativeType>(ScalarBuffer<T>);

impl<T: ArrowNativeType> List<T> {
    pub(crate) fn new(values: ScalarBuffer<T>) -> Self {
        Self(values)
    }
}

impl List<u8> {
    pub(crate) fn bytes(bytes: Buffer) -> Self {
        Self(bytes.into())
    }
}

impl<T: ArrowNativeType> From<Vec<T>> for List<T> {
    fn from(values: Vec<T>) -> Self {
        Self(values.into())
    }
}

#[expect(unsafe_code, reason = "forwards every item to the slice's own implementation, as wasmtime does for Vec")]
// SAFETY: the ABI, the lowered form and the type check are those of `[T]`, and so is what `Lower` below writes.
unsafe impl<T: ArrowNativeType + ComponentType> ComponentType for List<T> {
    type Lower = <[T] as ComponentType>::Lower;

    const ABI: CanonicalAbiInfo = <[T] as ComponentType>::ABI;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        <[T] as ComponentType>::typecheck(ty, types)
    }
}

#[expect(unsafe_code, reason = "forwards both methods to the slice's own implementation, as wasmtime does for Vec")]
// SAFETY: see above.
unsafe impl<T: ArrowNativeType + Lower> Lower for List<T> {
    fn linear_lower_to_flat<U>(
        &self,
        cx: &mut LowerContext<'_, U>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<Self::Lower>,
    ) -> Result<()> {
        <[T] as Lower>::linear_lower_to_flat(&self.0, cx, ty, dst)
    }

    fn linear_lower_to_memory<U>(&self, cx: &mut LowerContext<'_, U>, ty: InterfaceType, offset: usize) -> Result<()> {
        <[T] as Lower>::linear_lower_to_memory(&self.0, cx, ty, offset)
    }
}

impl<T: ArrowNativeType> AsRef<[T]> for List<T> {
    fn as_ref(&self) -> &[T] {
        &self.0
    }
}
