//! Why sampled requests become no pairs, as metrics have it.

macro_rules! reasons {
    ($($(#[$doc:meta])+ $name:ident = $text:literal;)+) => {
        /// Why a sampled request became no pair.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Dropped {
            $($(#[$doc])+ $name,)+
        }

        impl Dropped {
            /// The reason's word in metrics.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

reasons! {
    /// The request or an answer is larger than the limit.
    TooLarge = "too_large";
    /// The client left before its answer was complete.
    ClientGone = "client_gone";
    /// The live answer is two upstreams': it broke off and was continued.
    Continued = "continued";
    /// The request was at fault.
    ClientError = "client_error";
    /// Too many copies wait.
    QueueFull = "queue_full";
    /// Live traffic left no room in time.
    Busy = "busy";
    /// The day's money is spent.
    Budget = "budget";
    /// Nobody knows the candidate's price, and it is not local.
    Unpriced = "unpriced";
    /// The candidate is asked with the client's own key, which is not for copies.
    ClientKey = "client_key";
    /// The candidate may not see the request. Never, unless the router is wrong.
    Residency = "residency";
    /// Copying was stopped, or the configuration changed, while it waited.
    Stopped = "stopped";
    /// The process is shutting down.
    Shutdown = "shutdown";
    /// Too many pairs wait for the controller.
    PairsFull = "pairs_full";
}
