//! Writes the implementation of `Task`.

use lamplighter_core::name::TaskName;
use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{
    Error, Expr, ExprLit, FnArg, GenericArgument, ItemFn, Lit, Meta, PathArguments, Result, ReturnType, Type,
    spanned::Spanned,
};

use crate::attributes::{Attributes, When};

pub(crate) fn expand(attributes: &Attributes, function: &ItemFn) -> Result<TokenStream> {
    let ident = &function.sig.ident;
    let visibility = &function.vis;
    let name = TaskName::from_function(&ident.to_string()).map_err(|error| {
        Error::new(ident.span(), format!("a task has its function's name, with hyphens: {error}"))
    })?;
    if function.sig.asyncness.is_none() {
        return Err(Error::new(function.sig.fn_token.span, "a task must be an `async fn`"));
    }
    if !function.sig.generics.params.is_empty() {
        return Err(Error::new(function.sig.generics.span(), "a task cannot be generic"));
    }
    let config = config(function)?;
    let ReturnType::Type(_, result) = &function.sig.output else {
        return Err(Error::new(ident.span(), "a task must return `TaskResult`"));
    };

    let task = format_ident!("{}", name.to_pascal_case(), span = ident.span());
    let declared = declared(attributes, name.as_str(), &description(function));
    let copies_assets = !attributes.copy_assets.is_empty();
    let doc = format!("The task `{name}`.");
    let validate = attributes.validate.as_ref().map(|check| {
        quote_spanned! { check.span() =>
            fn validate(&self, ctx: &::lamplighter::Context<Self::Config>) -> ::lamplighter::Validity {
                #check(ctx)
            }
        }
    });
    let rollback = attributes.rollback.as_ref().map(|undo| {
        quote_spanned! { undo.span() =>
            async fn rollback(&self, ctx: ::lamplighter::Context<Self::Config>) -> ::lamplighter::TaskResult {
                #undo(ctx).await
            }
        }
    });
    let due = match &attributes.schedule {
        Some(When::Function(due)) => Some(quote_spanned! { due.span() =>
            async fn due(&self, ctx: ::lamplighter::Context<Self::Config>) -> ::lamplighter::Due {
                #due(ctx).await
            }
        }),
        Some(When::Expression(_)) | None => None,
    };
    // Where it stands if the function returns something else.
    let run = quote_spanned!(result.span() => #ident(ctx).await);
    Ok(quote! {
        #[allow(clippy::unused_async, reason = "a task is async whether or not it waits for anything")]
        #function

        #[doc = #doc]
        #[derive(Clone, Copy, Debug, Default)]
        #visibility struct #task;

        impl ::lamplighter::Task for #task {
            type Config = #config;

            const COPIES_ASSETS: bool = #copies_assets;

            fn definition() -> ::lamplighter::definition::Definition {
                #declared.definition::<Self>()
            }

            async fn run(&self, ctx: ::lamplighter::Context<Self::Config>) -> ::lamplighter::TaskResult {
                #run
            }

            #validate
            #due
            #rollback
        }
    })
}

/// The configuration's type: `Config` of `ctx: Context<Config>`, or `()` of `ctx: Context`.
fn config(function: &ItemFn) -> Result<Type> {
    let expected = "a task takes one argument, `ctx: Context<Config>` or `ctx: Context`";
    let mut inputs = function.sig.inputs.iter();
    let Some(FnArg::Typed(argument)) = inputs.next() else {
        return Err(Error::new(function.sig.paren_token.span.join(), expected));
    };
    if let Some(further) = inputs.next() {
        return Err(Error::new(further.span(), expected));
    }
    let Type::Path(path) = &*argument.ty else { return Err(Error::new(argument.ty.span(), expected)) };
    let Some(last) = path.path.segments.last().filter(|segment| segment.ident == "Context") else {
        return Err(Error::new(argument.ty.span(), expected));
    };
    match &last.arguments {
        PathArguments::None => Ok(syn::parse_quote!(())),
        PathArguments::AngleBracketed(arguments) => match arguments.args.first() {
            Some(GenericArgument::Type(config)) => Ok(config.clone()),
            _ => Err(Error::new(last.arguments.span(), expected)),
        },
        PathArguments::Parenthesized(_) => Err(Error::new(last.arguments.span(), expected)),
    }
}

/// The doc comment as one text, indented as it was behind the slashes' space.
fn description(function: &ItemFn) -> String {
    let lines =
        function.attrs.iter().filter(|attribute| attribute.path().is_ident("doc")).filter_map(|attribute| {
            match &attribute.meta {
                Meta::NameValue(pair) => match &pair.value {
                    Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) => {
                        let line = line.value();
                        Some(line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned())
                    }
                    _ => None,
                },
                _ => None,
            }
        });
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

fn declared(attributes: &Attributes, name: &str, description: &str) -> TokenStream {
    let definition = quote!(::lamplighter::definition);
    let generated = quote!(::lamplighter::generated);
    let depends_on = &attributes.depends_on;
    let kind = if let Some(schedule) = &attributes.schedule {
        let schedule = optional(match schedule {
            When::Expression(expression) => Some(quote!(#expression)),
            When::Function(_) => None,
        });
        let timezone = attributes.timezone.as_deref().unwrap_or("UTC");
        let priority = format_ident!("{}", attributes.priority.unwrap_or_default().variant());
        let overlap = format_ident!("{}", attributes.overlap.unwrap_or_default().variant());
        let catch_up = attributes.catch_up.unwrap_or_default().to_string();
        let jitter_ms = attributes.jitter_ms.unwrap_or_default();
        let run_once = attributes.run_once.unwrap_or_default();
        quote! {
            #generated::DeclaredKind::Cron {
                schedule: #schedule,
                timezone: #timezone,
                priority: #definition::Priority::#priority,
                overlap: #definition::Overlap::#overlap,
                catch_up: #catch_up,
                depends_on: &[#(#depends_on),*],
                jitter_ms: #jitter_ms,
                run_once: #run_once,
            }
        }
    } else {
        let run_on = optional(attributes.run_on.as_ref().map(|changes| {
            let variants = changes.iter().map(|change| format_ident!("{}", change.variant()));
            quote!(&[#(#definition::RunOn::#variants),*])
        }));
        let phase = format_ident!("{}", attributes.phase.unwrap_or_default().variant());
        let once_per = format_ident!("{}", attributes.once_per.unwrap_or_default().variant());
        quote! {
            #generated::DeclaredKind::Lifecycle {
                run_on: #run_on,
                phase: #definition::Phase::#phase,
                once_per: #definition::OncePer::#once_per,
                depends_on: &[#(#depends_on),*],
            }
        }
    };
    let timeout_ms = optional(attributes.timeout_ms.map(|ms| quote!(#ms)));
    let attempts = optional(attributes.attempts.map(|attempts| quote!(#attempts)));
    let rollback = attributes.rollback.is_some();
    let assets = attributes.copy_assets.iter().map(|(from, to)| {
        let to = optional(to.as_ref().map(|to| quote!(#to)));
        quote!((#from, #to))
    });
    let category = optional(attributes.category.as_ref().map(|category| quote!(#category)));
    let tags = &attributes.tags;
    let retention_ms = optional(attributes.retention_ms.map(|ms| quote!(#ms)));
    let result = optional(
        attributes
            .result
            .as_ref()
            .map(|result| quote_spanned!(result.span() => #generated::schema::<#result>)),
    );
    quote! {
        #generated::Declared {
            name: #name,
            description: #description,
            kind: #kind,
            timeout_ms: #timeout_ms,
            attempts: #attempts,
            copy_assets: &[#(#assets),*],
            rollback: #rollback,
            category: #category,
            tags: &[#(#tags),*],
            retention_ms: #retention_ms,
            result: #result,
        }
    }
}

fn optional(value: Option<TokenStream>) -> TokenStream {
    if let Some(value) = value {
        quote!(::std::option::Option::Some(#value))
    } else {
        quote!(::std::option::Option::None)
    }
}
