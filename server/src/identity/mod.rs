//! Who may speak to the server: the federation's certificates, one-time invitations, enrolled merchants.

pub mod certificates;
pub mod enrolment;
pub mod invitations;
pub mod merchants;
