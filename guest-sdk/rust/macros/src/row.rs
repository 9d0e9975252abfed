//! `#[derive(Row)]`

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Index, Lifetime, LitStr};

use crate::attr;

pub fn derive(input: &DeriveInput) -> syn::Result<TokenStream> {
    let fields = attr::fields(input, "#[derive(Row)]")?;
    let own = attr::lifetime(input)?;
    let (_, type_generics, _) = input.generics.split_for_impl();
    let life = own.unwrap_or_else(|| Lifetime::new("'lakemill", proc_macro2::Span::call_site()));
    let ident = &input.ident;
    let (mut columns, mut slots, mut opens, mut reads) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (place, field) in fields.named.iter().enumerate() {
        let (name, ty) = (field.ident.as_ref().expect("a named field"), &field.ty);
        let mut column = LitStr::new(name.to_string().trim_start_matches("r#"), name.span());
        let mut or_default = false;
        for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("row")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("rename") {
                    column = meta.value()?.parse()?;
                } else if meta.path.is_ident("default") {
                    or_default = true;
                } else {
                    return Err(meta.error("expected `rename = \"…\"` or `default`"));
                }
                Ok(())
            })?;
        }
        let place = Index::from(place);
        let read = if or_default { quote!(read_or_default) } else { quote!(read) };
        slots.push(quote!(::lakemill_guest::private::Slot<#life, #ty>));
        opens.push(quote!(::lakemill_guest::private::Slot::open(batch, image, renames.name(#column))?));
        reads.push(quote!(#name: slots.#place.#read(row, #column)?));
        columns.push(column);
    }
    let generics = &input.generics;
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::lakemill_guest::private::IsRow for #ident #type_generics {}

        #[automatically_derived]
        impl<#life> ::lakemill_guest::Row<#life> for #ident #type_generics {
            type Slots = (#(#slots,)*);
            const COLUMNS: &'static [&'static str] = &[#(#columns),*];

            fn open(
                batch: &#life ::lakemill_guest::Batch<'_>,
                image: ::lakemill_guest::Image,
                renames: &::lakemill_guest::Renames,
            ) -> ::core::result::Result<Self::Slots, ::lakemill_guest::Error> {
                ::core::result::Result::Ok((#(#opens,)*))
            }

            #[inline]
            fn read(slots: &Self::Slots, row: usize) -> ::core::result::Result<Self, ::lakemill_guest::Lack> {
                ::core::result::Result::Ok(Self { #(#reads),* })
            }
        }
    })
}
