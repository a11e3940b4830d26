//! What must hold whatever happens to the process, the machine or the disk: nobody brings the erased back, and nothing
//! acknowledged is lost.

mod forget;
mod house;
mod kill;
mod ledger;
mod load;
mod power;
mod scan;
mod served;
