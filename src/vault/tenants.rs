//! The controllers of a vault, each with the policy that is in force now.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::model::ids::TenantId;
use crate::tenant::Tenant;

/// Every controller with its published policy. Putting another policy in force is one swap of a pointer: a call that began
/// before goes on with the policy that it began with, every later one gets the new.
pub(crate) struct Tenants(BTreeMap<TenantId, RwLock<Arc<Tenant>>>);

impl Tenants {
    /// These controllers, with these policies in force.
    pub(crate) fn of(tenants: Vec<Tenant>) -> Self {
        Self(tenants.into_iter().map(|tenant| (tenant.id(), RwLock::new(Arc::new(tenant)))).collect())
    }

    /// The policy in force of one of them.
    pub(crate) fn get(&self, id: &TenantId) -> Option<Arc<Tenant>> {
        self.0.get(id).map(|tenant| tenant.read().clone())
    }

    /// All of them, by id.
    pub(crate) fn all(&self) -> Vec<Arc<Tenant>> {
        self.0.values().map(|tenant| tenant.read().clone()).collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Puts a policy in force for the controller that it is of.
    pub(crate) fn put(&self, tenant: Tenant) {
        if let Some(place) = self.0.get(&tenant.id()) {
            *place.write() = Arc::new(tenant);
        }
    }
}
