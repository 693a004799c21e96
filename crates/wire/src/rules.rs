//! The shape that all errors of this crate have: one variant per rule, and the rule's text, which is its documentation and
//! what the record says.

/// Declares an error of rules; one variant may hold an error of more rules.
macro_rules! rules {
    (
        $(#[$meta:meta])*
        $name:ident { $($variant:ident $text:literal,)* $(..$nested:ident($inner:ty) $nested_doc:literal)? }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[doc = $text] $variant,)*
            $(#[doc = $nested_doc] $nested($inner),)?
        }

        impl $name {
            /// The rule that was broken, for the record.
            pub fn rule(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)*
                    $($name::$nested(error) => error.rule(),)?
                }
            }
        }
    };
}

pub(crate) use rules;
