//! `shipper` sends the logs of reader to a receiver of OTLP over HTTP: archives and segments alike, oldest first.
//!
//! In the order in which the bytes travel; a module uses only what stands further down:
//! - [`cli`], [`config`]: what is to be sent where; [`run`]: the loop, in which each pipe has its turns, with [`watch`],
//!   [`inbox`] and [`fleet`];
//! - [`pipe`]: one turn of one pipe: read, send, write down;
//! - [`parts`]: the parts of a log from a place on; [`batch`]: lines with the time and name that each has for ever;
//!   [`timing`]: those times;
//! - [`otlp`], [`gzip`]: a batch as the body of a request, and what an answer says;
//! - [`client`]: one request; [`verdict`]: what an answer means for the batch; [`backoff`]: when to try again;
//! - [`cursor_file`]: what the next run knows; [`host`]: of which machine.
//!
//! A line is sent until the receiver has answered that it has it; only then the cursor goes on. So a kill at any moment
//! loses none and may repeat some, and those have the same uid and the same time as before.

pub mod backoff;
pub mod batch;
pub mod cli;
pub mod client;
pub mod config;
pub mod cursor_file;
pub mod fleet;
pub mod gzip;
pub mod host;
pub mod inbox;
pub mod otlp;
pub mod parts;
pub mod pipe;
pub mod run;
pub mod timing;
pub mod verdict;
pub mod watch;
