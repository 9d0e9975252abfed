//! `#[transform]`

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::parse::Parser;
use syn::{FnArg, ItemFn, Path, ReturnType, Type};

use crate::attr::anonymous;

pub fn expand(arguments: TokenStream, function: &ItemFn) -> syn::Result<TokenStream> {
    let (mut columns, mut describe): (bool, Option<Path>) = (false, None);
    let parser = syn::meta::parser(|meta| {
        if meta.path.is_ident("columns") {
            columns = true;
        } else if meta.path.is_ident("describe") {
            describe = Some(meta.value()?.parse()?);
        } else {
            return Err(meta.error("expected `columns` and `describe = PATH`"));
        }
        Ok(())
    });
    parser.parse2(arguments)?;
    let name = &function.sig.ident;
    let arguments: Vec<&Type> = function.sig.inputs.iter().map(referenced).collect::<syn::Result<_>>()?;
    let (input, settings) = match arguments[..] {
        [input] => (input, None),
        [input, settings] => (input, Some(settings)),
        _ => {
            return Err(syn::Error::new_spanned(
                &function.sig,
                "a transform takes a change, or a batch, and perhaps its settings: `(change: &Change<Order>, settings: &Settings)`",
            ));
        }
    };
    // Variables that cannot meet a name of the author's: `fn settings(change: …, settings: &Settings)` is theirs to write.
    let [of_settings, renames, batch, change] =
        ["settings", "renames", "batch", "change"].map(|name| Ident::new(name, Span::mixed_site()));
    let pass = settings.map(|_| quote!(, &#of_settings));
    let settings_type = settings.map_or_else(|| quote!(()), |ty| quote!(#ty));
    let config = settings
        .map_or_else(|| quote!(::std::string::String::from("{}")), |_| quote!(::lakemill_guest::component::config()));
    let (described, run) = if columns {
        let Some(describe) = describe else {
            return Err(syn::Error::new_spanned(
                name,
                "`columns` needs `describe = PATH`: a function that makes the Description",
            ));
        };
        let pass_only = settings.map(|_| quote!(&#of_settings));
        (quote!(#describe(#pass_only)), quote!(#name(#batch #pass)))
    } else {
        let ReturnType::Type(_, output) = &function.sig.output else {
            return Err(syn::Error::new_spanned(
                &function.sig,
                "a transform returns what it makes of a change: `-> Emit<Clean>`, or an Option, a Vec, or a Result<_, Reject> of one of \
                 these",
            ));
        };
        let (input, output) = (anonymous(quote!(#input)), anonymous(quote!(#output)));
        (
            quote!(::lakemill_guest::private::describe_rows::<#input, #output>(#renames)?),
            quote!(::lakemill_guest::private::run_rows(#batch, #renames, |#change: #input| #name(&#change #pass))),
        )
    };
    Ok(quote! {
        #function

        /// The transform of this crate, as tests run it.
        pub static TRANSFORM: ::lakemill_guest::Transform = {
            fn __lakemill_describe(config: &str) -> ::core::result::Result<::lakemill_guest::Description, ::std::string::String> {
                let #of_settings = ::lakemill_guest::private::settings::<#settings_type>(config)?;
                let #renames = ::lakemill_guest::Config::renames(&#of_settings);
                let _ = #renames;
                let description: ::lakemill_guest::Description = #described;
                ::core::result::Result::Ok(::lakemill_guest::private::finish_description::<#settings_type>(
                    description,
                    ::core::env!("CARGO_PKG_NAME"),
                    ::core::env!("CARGO_PKG_VERSION"),
                ))
            }

            fn __lakemill_transform<'b>(
                #batch: &'b ::lakemill_guest::Batch<'b>,
                config: &str,
            ) -> ::core::result::Result<::lakemill_guest::Answer, ::std::string::String> {
                let #of_settings = ::lakemill_guest::private::settings::<#settings_type>(config)?;
                let #renames = ::lakemill_guest::Config::renames(&#of_settings);
                let _ = #renames;
                let answer: ::core::result::Result<::lakemill_guest::Answer, ::lakemill_guest::Error> = #run;
                answer.map_err(|error| ::std::string::ToString::to_string(&error))
            }

            ::lakemill_guest::Transform::new(__lakemill_describe, __lakemill_transform)
        };

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Module;

            impl ::lakemill_guest::component::Guest for Module {
                fn describe() -> ::core::result::Result<::lakemill_guest::component::HostDescription, ::std::string::String> {
                    ::lakemill_guest::component::describe(&TRANSFORM, &#config)
                }

                fn transform(
                    batch: &::lakemill_guest::component::Batch,
                ) -> ::core::result::Result<::lakemill_guest::component::HostAnswer, ::std::string::String> {
                    ::lakemill_guest::component::run(&TRANSFORM, batch, &#config)
                }
            }

            ::lakemill_guest::component::export!(Module with_types_in ::lakemill_guest::component::bindings);
        };
    })
}

/// `T` of an argument `name: &T`.
fn referenced(argument: &FnArg) -> syn::Result<&Type> {
    match argument {
        FnArg::Typed(typed) => match &*typed.ty {
            Type::Reference(reference) => Ok(&reference.elem),
            other => Err(syn::Error::new_spanned(
                other,
                format!(
                    "a transform borrows what it is given: write `&{}`",
                    quote!(#other).to_string().replace(' ', "")
                ),
            )),
        },
        FnArg::Receiver(receiver) => Err(syn::Error::new_spanned(
            receiver,
            "a transform is a function of its own, without `self`: `fn clean(change: &Change<Order>) -> Emit<Clean>`",
        )),
    }
}
