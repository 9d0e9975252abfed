//! Reading attributes, and names.

use proc_macro2::{Group, Ident, Spacing, TokenStream, TokenTree};
use syn::parse::ParseStream;
use syn::{Data, DeriveInput, Expr, Fields, FieldsNamed, GenericParam, Lifetime, LitStr};

/// `["a", "b"]`
pub fn names(input: ParseStream<'_>) -> syn::Result<Vec<LitStr>> {
    let content;
    syn::bracketed!(content in input);
    Ok(content.parse_terminated(|item: ParseStream<'_>| item.parse::<LitStr>(), syn::Token![,])?.into_iter().collect())
}

/// The fields of a struct with names.
pub fn fields<'i>(input: &'i DeriveInput, what: &str) -> syn::Result<&'i FieldsNamed> {
    match &input.data {
        Data::Struct(of) => match &of.fields {
            Fields::Named(fields) => Ok(fields),
            Fields::Unnamed(_) | Fields::Unit => {
                Err(syn::Error::new_spanned(&input.ident, format!("{what} needs a struct with named fields")))
            }
        },
        Data::Enum(_) | Data::Union(_) => Err(syn::Error::new_spanned(&input.ident, format!("{what} needs a struct"))),
    }
}

/// The one lifetime of a type, if it has any.
pub fn lifetime(input: &DeriveInput) -> syn::Result<Option<Lifetime>> {
    let mut found = None;
    for parameter in &input.generics.params {
        match parameter {
            GenericParam::Lifetime(of) if found.is_none() => found = Some(of.lifetime.clone()),
            other => return Err(syn::Error::new_spanned(other, "one lifetime is all that it may be generic over")),
        }
    }
    Ok(found)
}

/// `OrderLine` as `order_line`.
pub fn snake(name: &str) -> String {
    let mut out = String::new();
    for (place, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && place > 0 {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

/// The text of the doc comments.
pub fn doc(attributes: &[syn::Attribute]) -> String {
    let line = |attribute: &syn::Attribute| match &attribute.meta {
        syn::Meta::NameValue(of) if of.path.is_ident("doc") => match &of.value {
            Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    };
    attributes.iter().filter_map(line).collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// The same tokens with every lifetime but `'static` left to be inferred: in the impls they stand in expressions.
pub fn anonymous(tokens: TokenStream) -> TokenStream {
    let mut after_tick = false;
    let each = |token: TokenTree| {
        let is_tick =
            matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '\'' && punct.spacing() == Spacing::Joint);
        let renamed = match token {
            TokenTree::Ident(ident) if after_tick && ident != "static" => {
                TokenTree::Ident(Ident::new("_", ident.span()))
            }
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), anonymous(group.stream()));
                inner.set_span(group.span());
                TokenTree::Group(inner)
            }
            other => other,
        };
        after_tick = is_tick;
        renamed
    };
    tokens.into_iter().map(each).collect()
}
