//! `#[derive(Output)]`

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Fields, Index, LitInt, LitStr, Type};

use crate::attr;

/// What `#[output(…)]` says of a table.
struct Table {
    name: LitStr,
    key: Vec<LitStr>,
    /// In order; `None` is where the made columns stand.
    parts: Vec<Option<Copy>>,
}

/// `copy(…)`
struct Copy {
    image: Ident,
    prefix: Option<LitStr>,
    except: Vec<LitStr>,
    column: Option<LitStr>,
    name: Option<LitStr>,
}

/// A made column.
struct Made<'i> {
    field: &'i Ident,
    column: LitStr,
    ty: &'i Type,
    required: bool,
    /// What is written of a decimal's digits, as an `Option`.
    decimal: TokenStream,
    has_digits: bool,
}

/// How a table is written, as pieces of the impl.
struct Written {
    tables: TokenStream,
    spec: TokenStream,
    start: TokenStream,
    check_bare: TokenStream,
}

pub fn derive(input: &DeriveInput) -> syn::Result<TokenStream> {
    attr::lifetime(input)?;
    let body = match &input.data {
        Data::Struct(_) => of_struct(input)?,
        Data::Enum(of) => of_enum(of)?,
        Data::Union(_) => {
            return Err(syn::Error::new_spanned(&input.ident, "#[derive(Output)] needs a struct or an enum"));
        }
    };
    let (generics, type_generics, _) = input.generics.split_for_impl();
    let ident = &input.ident;
    let digits = digits_are_said(input)?;
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::lakemill_guest::Output for #ident #type_generics { #body }

        #digits
    })
}

/// Refuses, while it is compiled, a decimal without its digits, and digits of what is no decimal: only the type knows whether it is one.
fn digits_are_said(input: &DeriveInput) -> syn::Result<TokenStream> {
    let fields: Vec<&syn::Field> = match &input.data {
        Data::Struct(of) => of.fields.iter().collect(),
        Data::Enum(of) => of.variants.iter().flat_map(|variant| &variant.fields).collect(),
        Data::Union(_) => Vec::new(),
    };
    let named = fields.into_iter().filter(|field| field.ident.is_some());
    let checks = named.map(|field| {
        let made = made(field)?;
        let (ty, column) = (made.ty, made.column.value());
        let ty = attr::anonymous(quote!(#ty));
        let is_decimal = quote!(<#ty as ::lakemill_guest::CellOut>::DATA_TYPE.is_none());
        let (fine, words) = if made.has_digits {
            (
                quote!(#is_decimal),
                format!("`{column}` is no Decimal: `decimal(…)` says how many digits a Decimal has; leave it out"),
            )
        } else {
            let words = format!(
                "`{column}` is a Decimal: say how many digits it has, and how many of them after the point: \
                 #[output(decimal(12, 2))]"
            );
            (quote!(!#is_decimal), words)
        };
        Ok(quote_spanned!(made.ty.span()=> const _: () = ::core::assert!(#fine, #words);))
    });
    let checks = checks.collect::<syn::Result<Vec<TokenStream>>>()?;
    Ok(quote!(#(#checks)*))
}

fn of_struct(input: &DeriveInput) -> syn::Result<TokenStream> {
    let fields = attr::fields(input, "#[derive(Output)]")?;
    let table = table(&input.attrs, &attr::snake(&input.ident.to_string()), &input.ident)?;
    let made: Vec<Made<'_>> = fields.named.iter().map(made).collect::<syn::Result<_>>()?;
    let Written { tables, spec, start, check_bare } = write(&table, &made);
    let names: Vec<_> = made.iter().map(|made| made.field).collect();
    let (check, push) = (check(&made), push(&made, &quote!(tables)));
    let (bare, finish) = (bare(&made, &quote!(tables)), finish(&made, &quote!(tables)));
    Ok(methods(&Methods {
        tables,
        specs: quote!(::std::vec![#spec]),
        start,
        check: quote!(let Self { #(#names),* } = self; #check),
        push: quote!(let Self { #(#names),* } = self; #push),
        check_bare,
        bare,
        finish,
    }))
}

fn of_enum(of: &syn::DataEnum) -> syn::Result<TokenStream> {
    let (mut tables, mut specs, mut start) = (Vec::new(), Vec::new(), Vec::new());
    let (mut check_arms, mut push_arms) = (Vec::new(), Vec::new());
    let (mut check_bare, mut bares, mut finishes) = (Vec::new(), Vec::new(), Vec::new());
    for (place, variant) in of.variants.iter().enumerate() {
        let (ident, place) = (&variant.ident, Index::from(place));
        if let Fields::Unnamed(fields) = &variant.fields {
            let [inner] = fields.unnamed.iter().collect::<Vec<_>>()[..] else {
                return Err(syn::Error::new_spanned(
                    variant,
                    "a variant holds named fields, or one struct that derives Output",
                ));
            };
            let ty = &inner.ty;
            let output = quote!(<#ty as ::lakemill_guest::Output>);
            tables.push(quote!(#output::Tables));
            specs.push(quote!(all.extend(#output::specs(renames));));
            start.push(quote!(#output::tables()));
            check_arms.push(quote!(Self::#ident(inner) => ::lakemill_guest::Output::check(inner)));
            push_arms
                .push(quote!(Self::#ident(inner) => ::lakemill_guest::Output::push(inner, &mut tables.#place, place)));
            check_bare.push(quote!(#output::check_bare()?;));
            bares.push(quote!(#output::push_bare(&mut tables.#place, place);));
            finishes.push(quote!(#output::finish(tables.#place, emissions);));
            continue;
        }
        let table = table(&variant.attrs, &attr::snake(&ident.to_string()), ident)?;
        let made: Vec<Made<'_>> = variant.fields.iter().map(made).collect::<syn::Result<_>>()?;
        let written = write(&table, &made);
        let names: Vec<_> = made.iter().map(|made| made.field).collect();
        let (check, push) = (check(&made), push(&made, &quote!(tables.#place)));
        tables.push(written.tables);
        let spec = written.spec;
        specs.push(quote!(all.push(#spec);));
        start.push(written.start);
        check_arms.push(quote!(Self::#ident { #(#names),* } => { #check }));
        push_arms.push(quote!(Self::#ident { #(#names),* } => { #push }));
        let lacks = written.check_bare;
        check_bare.push(quote!((|| -> ::core::result::Result<(), ::lakemill_guest::Reject> { #lacks })()?;));
        bares.push(bare(&made, &quote!(tables.#place)));
        finishes.push(finish(&made, &quote!(tables.#place)));
    }
    Ok(methods(&Methods {
        tables: quote!((#(#tables,)*)),
        specs: quote!({ let mut all = ::std::vec::Vec::new(); #(#specs)* all }),
        start: quote!((#(#start,)*)),
        check: quote!(match self { #(#check_arms),* }),
        push: quote!(match self { #(#push_arms),* }),
        check_bare: quote!(#(#check_bare)* ::core::result::Result::Ok(())),
        bare: quote!(#(#bares)*),
        finish: quote!(#(#finishes)*),
    }))
}

struct Methods {
    tables: TokenStream,
    specs: TokenStream,
    start: TokenStream,
    check: TokenStream,
    push: TokenStream,
    check_bare: TokenStream,
    bare: TokenStream,
    finish: TokenStream,
}

fn methods(of: &Methods) -> TokenStream {
    let Methods { tables, specs, start, check, push, check_bare, bare, finish } = of;
    quote! {
        type Tables = #tables;

        fn specs(renames: &::lakemill_guest::Renames) -> ::std::vec::Vec<::lakemill_guest::OutputSpec> {
            #specs
        }

        fn tables() -> Self::Tables {
            #start
        }

        #[inline]
        fn check(&self) -> ::core::result::Result<(), ::lakemill_guest::Reject> {
            #check
        }

        #[inline]
        fn push(self, tables: &mut Self::Tables, place: ::lakemill_guest::private::Place) {
            #push
        }

        fn check_bare() -> ::core::result::Result<(), ::lakemill_guest::Reject> {
            #check_bare
        }

        fn push_bare(tables: &mut Self::Tables, place: ::lakemill_guest::private::Place) {
            #bare
        }

        fn finish(tables: Self::Tables, emissions: &mut ::std::vec::Vec<::lakemill_guest::Emission>) {
            #finish
        }
    }
}

fn write(table: &Table, made: &[Made<'_>]) -> Written {
    let kinds = made.iter().map(|made| {
        let ty = made.ty;
        quote!(::lakemill_guest::ColumnBuilder<<#ty as ::lakemill_guest::CellOut>::Kind>)
    });
    let starts = made.iter().map(|_| quote!(::lakemill_guest::ColumnBuilder::new()));
    let name = &table.name;
    let lacking =
        made.iter().filter(|made| made.required || table.key.iter().any(|key| key.value() == made.column.value()));
    let check_bare = match lacking.map(|made| &made.column).next() {
        Some(column) => quote!(::core::result::Result::Err(::lakemill_guest::private::bare_lacks(#name, #column))),
        None => quote!(::core::result::Result::Ok(())),
    };
    Written {
        tables: quote!((::lakemill_guest::private::TableRows, (#(#kinds,)*))),
        spec: spec(table, made),
        start: quote!((::core::default::Default::default(), (#(#starts,)*))),
        check_bare,
    }
}

fn spec(table: &Table, made: &[Made<'_>]) -> TokenStream {
    let (name, key) = (&table.name, &table.key);
    let made: Vec<TokenStream> = made
        .iter()
        .map(|made| {
            let (column, ty, decimal, nullable) = (&made.column, made.ty, &made.decimal, !made.required);
            quote! {
                spec.columns.push(::lakemill_guest::OutputColumn::Made(::lakemill_guest::Field {
                    name: renames.name(#column).to_owned(),
                    data_type: <#ty as ::lakemill_guest::CellOut>::data_type(#decimal),
                    nullable: #nullable,
                }));
            }
        })
        .collect();
    let parts = table.parts.iter().map(|part| match part {
        None => quote!(#(#made)*),
        Some(Copy { image, column: Some(column), name, .. }) => {
            let name = name.as_ref().unwrap_or(column);
            quote! {
                spec.columns.push(::lakemill_guest::OutputColumn::Copied {
                    image: ::lakemill_guest::Image::#image,
                    column: renames.name(#column).to_owned(),
                    name: #name.to_owned(),
                });
            }
        }
        Some(Copy { image, prefix, except, .. }) => {
            let prefix = prefix.as_ref().map_or_else(String::new, LitStr::value);
            quote! {
                spec.columns.push(::lakemill_guest::OutputColumn::CopiedAll {
                    image: ::lakemill_guest::Image::#image,
                    prefix: #prefix.to_owned(),
                    except: ::std::vec![#(renames.name(#except).to_owned()),*],
                });
            }
        }
    });
    quote! {{
        let mut spec = ::lakemill_guest::OutputSpec::new(#name);
        spec.key = ::std::vec![#(renames.name(#key).to_owned()),*];
        #(#parts)*
        spec
    }}
}

fn check(made: &[Made<'_>]) -> TokenStream {
    let checks = made.iter().map(
        |Made { field, column, decimal, .. }| quote!(::lakemill_guest::CellOut::check(#field, #column, #decimal)?;),
    );
    quote!(#(#checks)* ::core::result::Result::Ok(()))
}

fn push(made: &[Made<'_>], tables: &TokenStream) -> TokenStream {
    let pushes = made.iter().enumerate().map(|(place, Made { field, decimal, .. })| {
        let place = Index::from(place);
        quote!(::lakemill_guest::CellOut::push(#field, &mut #tables.1.#place, #decimal);)
    });
    quote!(#tables.0.push(place); #(#pushes)*)
}

fn bare(made: &[Made<'_>], tables: &TokenStream) -> TokenStream {
    let nulls = (0..made.len()).map(Index::from).map(|place| quote!(#tables.1.#place.push_null();));
    quote!(#tables.0.push(place); #(#nulls)*)
}

fn finish(made: &[Made<'_>], tables: &TokenStream) -> TokenStream {
    let columns = (0..made.len()).map(Index::from).map(|place| quote!(#tables.1.#place.finish()));
    quote!(#tables.0.finish(emissions, ::std::vec![#(#columns),*]);)
}

fn made(field: &syn::Field) -> syn::Result<Made<'_>> {
    let name = field.ident.as_ref().expect("a named field");
    let column = LitStr::new(name.to_string().trim_start_matches("r#"), name.span());
    let mut made = Made {
        field: name,
        column,
        ty: &field.ty,
        required: false,
        decimal: quote!(::core::option::Option::None),
        has_digits: false,
    };
    for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("output")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("rename") {
                made.column = meta.value()?.parse()?;
            } else if meta.path.is_ident("required") {
                made.required = true;
            } else if meta.path.is_ident("decimal") {
                let content;
                syn::parenthesized!(content in meta.input);
                let precision: LitInt = content.parse()?;
                content.parse::<syn::Token![,]>()?;
                let scale: LitInt = content.parse()?;
                let (digits, after): (u8, u8) = (precision.base10_parse()?, scale.base10_parse()?);
                if !(1..=38).contains(&digits) || after > digits {
                    return Err(syn::Error::new_spanned(
                        precision,
                        "a decimal has 1 to 38 digits, and no more after the point than in all: `decimal(12, 2)`",
                    ));
                }
                made.has_digits = true;
                made.decimal = quote!(::core::option::Option::Some((#precision, #scale)));
            } else {
                return Err(meta.error("expected `rename = \"…\"`, `required` or `decimal(P, S)`"));
            }
            Ok(())
        })?;
    }
    Ok(made)
}

fn table(attributes: &[Attribute], default: &str, ident: &Ident) -> syn::Result<Table> {
    let mut table = Table { name: LitStr::new(default, ident.span()), key: Vec::new(), parts: Vec::new() };
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("output")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("name") {
                table.name = meta.value()?.parse()?;
            } else if meta.path.is_ident("key") {
                table.key = attr::names(meta.value()?)?;
            } else if meta.path.is_ident("made") {
                table.parts.push(None);
            } else if meta.path.is_ident("copy") {
                let content;
                syn::parenthesized!(content in meta.input);
                table.parts.push(Some(copy(&content)?));
            } else {
                return Err(meta.error("expected `name`, `key`, `copy(…)` or `made`"));
            }
            Ok(())
        })?;
    }
    if !table.parts.iter().any(Option::is_none) {
        table.parts.push(None);
    }
    Ok(table)
}

fn copy(input: syn::parse::ParseStream<'_>) -> syn::Result<Copy> {
    let image: Ident = input.parse()?;
    let known = ["key", "before", "after", "row", "envelope"];
    let name = image.to_string();
    if !known.contains(&name.as_str()) {
        return Err(syn::Error::new_spanned(&image, "expected key, before, after, row or envelope"));
    }
    let variant = format_ident!("{}{}", name[..1].to_uppercase(), &name[1..]);
    let mut copy = Copy { image: variant, prefix: None, except: Vec::new(), column: None, name: None };
    while !input.is_empty() {
        input.parse::<syn::Token![,]>()?;
        if input.is_empty() {
            break;
        }
        let word: Ident = input.parse()?;
        input.parse::<syn::Token![=]>()?;
        match word.to_string().as_str() {
            "prefix" => copy.prefix = Some(input.parse()?),
            "except" => copy.except = attr::names(input)?,
            "column" => copy.column = Some(input.parse()?),
            "name" => copy.name = Some(input.parse()?),
            _ => return Err(syn::Error::new_spanned(&word, "expected prefix, except, column or name")),
        }
    }
    Ok(copy)
}
