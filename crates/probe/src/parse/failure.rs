//! The words of the kind `failure`: phases and ways to fail, the same for every proxy.

macro_rules! words {
    ($(#[$doc:meta])* $type:ident { $($variant:ident $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $type { $($variant,)* }

        impl $type {
            pub(crate) fn name(self) -> &'static str {
                match self { $($type::$variant => $name,)* }
            }
        }
    };
}

words! {
    /// The phase of an exchange in which it failed.
    Phase {
        Body "body",
        Client "client",
        Connect "connect",
        Head "head",
        Resolve "resolve",
        Select "select",
        Send "send",
        Tls "tls",
    }
}

words! {
    /// How it failed.
    How {
        Aborted "aborted",
        BodyTooLarge "body-too-large",
        BrokenPipe "broken-pipe",
        Closed "closed",
        Disabled "disabled",
        DuplicateLength "duplicate-length",
        EarlyResponse "early-response",
        Expired "expired",
        FrameTooLarge "frame-too-large",
        Goaway "goaway",
        Handshake "handshake",
        HeaderTooBig "header-too-big",
        HeaderTooBigRequest "header-too-big-request",
        InvalidChunk "invalid-chunk",
        InvalidHeader "invalid-header",
        InvalidLength "invalid-length",
        InvalidRequest "invalid-request",
        LengthAndChunked "length-and-chunked",
        NameMismatch "name-mismatch",
        NoConnections "no-connections",
        NoDescriptors "no-descriptors",
        NoFile "no-file",
        NoLive "no-live",
        NoPorts "no-ports",
        NoResolver "no-resolver",
        NoSpace "no-space",
        NotFound "not-found",
        NotHttp "not-http",
        Other "other",
        Overflow "overflow",
        Permission "permission",
        QueueFull "queue-full",
        Refused "refused",
        Reset "reset",
        ServerFailed "server-failed",
        Timeout "timeout",
        Truncated "truncated",
        UnknownName "unknown-name",
        UnreachableHost "unreachable-host",
        UnreachableNetwork "unreachable-network",
        Verify "verify",
        WrongVersion "wrong-version",
    }
}

/// A request's path without its query, which may hold secrets.
pub(crate) fn uri_of(target: &str) -> &str {
    target.split(['?', '#']).next().unwrap_or(target)
}

/// What the number of a system's error means where a connection was made.
pub(crate) fn of_errno(errno: &str) -> Option<How> {
    Some(match errno {
        "2" => How::NoFile,
        "11" => How::QueueFull,
        "13" => How::Permission,
        "24" => How::NoDescriptors,
        "28" => How::NoSpace,
        "32" => How::BrokenPipe,
        "99" => How::NoPorts,
        "101" => How::UnreachableNetwork,
        "104" => How::Reset,
        "110" => How::Timeout,
        "111" => How::Refused,
        "113" => How::UnreachableHost,
        _ => return None,
    })
}
