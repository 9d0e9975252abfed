//! `#[derive(Config)]`

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Expr, Fields, LitStr, Path};

use crate::attr;

pub fn derive(input: &DeriveInput) -> syn::Result<TokenStream> {
    if let Some(parameter) = input.generics.params.first() {
        return Err(syn::Error::new_spanned(parameter, "settings cannot be generic"));
    }
    match &input.data {
        Data::Enum(of) => of_enum(input, of),
        Data::Struct(_) => of_struct(input),
        Data::Union(_) => Err(syn::Error::new_spanned(&input.ident, "#[derive(Config)] needs a struct or an enum")),
    }
}

enum Default {
    None,
    OfType,
    Json(Expr),
}

fn of_struct(input: &DeriveInput) -> syn::Result<TokenStream> {
    let fields = attr::fields(input, "#[derive(Config)]")?;
    let mut check: Option<Path> = None;
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("config")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("check") {
                return Err(meta.error("expected `check = PATH`"));
            }
            check = Some(meta.value()?.parse()?);
            Ok(())
        })?;
    }
    let (mut names, mut reads, mut schemas, mut renames) = (Vec::new(), Vec::new(), Vec::new(), None);
    for field in &fields.named {
        let (ident, ty) = (field.ident.as_ref().expect("a named field"), &field.ty);
        let (name, default) = of_field(field)?;
        let setting = quote!(<#ty as ::lakemill_guest::Setting>);
        reads.push(match &default {
            Default::None => quote!(#ident: ::lakemill_guest::private::field(object, at, #name)?),
            Default::Json(json) => quote! {
                #ident: ::lakemill_guest::private::field_or(object, at, #name, || ::lakemill_guest::private::json!(#json))?
            },
            Default::OfType => quote! {
                #ident: if object.contains_key(#name) {
                    ::lakemill_guest::private::field(object, at, #name)?
                } else {
                    ::core::default::Default::default()
                }
            },
        });
        let doc = attr::doc(&field.attrs);
        let described =
            (!doc.is_empty()).then(|| quote!(schema["description"] = ::lakemill_guest::private::json!(#doc);));
        let shown = match &default {
            Default::Json(json) => quote!(schema["default"] = ::lakemill_guest::private::json!(#json);),
            Default::None => quote! {
                if #setting::absent(#name).is_err() {
                    required.push(::lakemill_guest::private::json!(#name));
                }
            },
            Default::OfType => quote!(),
        };
        schemas.push(quote! {{
            let mut schema = #setting::schema();
            #described
            #shown
            properties[#name] = schema;
        }});
        if matches!(ty, syn::Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Renames"))
        {
            renames = Some(quote! {
                fn renames(&self) -> &::lakemill_guest::Renames {
                    &self.#ident
                }
            });
        }
        names.push(name);
    }
    let ident = &input.ident;
    let doc = attr::doc(&input.attrs);
    let described = (!doc.is_empty()).then(|| quote!(schema["description"] = ::lakemill_guest::private::json!(#doc);));
    let check = check.map(|path| quote!(#path(&read).map_err(|reason| ::std::format!("`{at}`: {reason}"))?;));
    Ok(quote! {
        #[automatically_derived]
        impl ::lakemill_guest::Setting for #ident {
            fn schema() -> ::lakemill_guest::private::Value {
                let mut properties = ::lakemill_guest::private::json!({});
                let mut required: ::std::vec::Vec<::lakemill_guest::private::Value> = ::std::vec::Vec::new();
                #(#schemas)*
                let mut schema = ::lakemill_guest::private::json!({ "type": "object", "additionalProperties": false });
                #described
                schema["properties"] = properties;
                if !required.is_empty() {
                    schema["required"] = required.into();
                }
                schema
            }

            fn read(value: &::lakemill_guest::private::Value, at: &str) -> ::core::result::Result<Self, ::std::string::String> {
                let object = ::lakemill_guest::private::object(value, at, &[#(#names),*])?;
                let read = Self { #(#reads),* };
                #check
                ::core::result::Result::Ok(read)
            }
        }

        #[automatically_derived]
        impl ::lakemill_guest::Config for #ident { #renames }
    })
}

fn of_field(field: &syn::Field) -> syn::Result<(LitStr, Default)> {
    let ident = field.ident.as_ref().expect("a named field");
    let mut name = LitStr::new(ident.to_string().trim_start_matches("r#"), ident.span());
    let mut default = Default::None;
    for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("config")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("rename") {
                name = meta.value()?.parse()?;
            } else if meta.path.is_ident("default") {
                default = match meta.value() {
                    Ok(value) => Default::Json(value.parse()?),
                    Err(_) => Default::OfType,
                };
            } else {
                return Err(meta.error("expected `default`, `default = JSON` or `rename = \"…\"`"));
            }
            Ok(())
        })?;
    }
    Ok((name, default))
}

fn of_enum(input: &DeriveInput, of: &syn::DataEnum) -> syn::Result<TokenStream> {
    let (mut words, mut arms) = (Vec::new(), Vec::new());
    for (place, variant) in of.variants.iter().enumerate() {
        if !matches!(variant.fields, Fields::Unit) {
            return Err(syn::Error::new_spanned(variant, "a setting's choices have no fields"));
        }
        let ident = &variant.ident;
        let mut word = LitStr::new(&attr::snake(&ident.to_string()), ident.span());
        for attribute in variant.attrs.iter().filter(|attribute| attribute.path().is_ident("config")) {
            attribute.parse_nested_meta(|meta| {
                if !meta.path.is_ident("rename") {
                    return Err(meta.error("expected `rename = \"…\"`"));
                }
                word = meta.value()?.parse()?;
                Ok(())
            })?;
        }
        words.push(word);
        arms.push(quote!(#place => Self::#ident));
    }
    let ident = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl ::lakemill_guest::Setting for #ident {
            fn schema() -> ::lakemill_guest::private::Value {
                ::lakemill_guest::private::json!({ "enum": [#(#words),*] })
            }

            fn read(value: &::lakemill_guest::private::Value, at: &str) -> ::core::result::Result<Self, ::std::string::String> {
                ::core::result::Result::Ok(match ::lakemill_guest::private::word(value, at, &[#(#words),*])? {
                    #(#arms,)*
                    _ => ::core::unreachable!(),
                })
            }
        }
    })
}
