//! Opening the new owner after the flip, or the old one again. Both are tried until they are done.
//!
//! The service opens before the fence names it, and the fence names an owner before the gates are released:
//! a writer that waited at a gate passes or is refused, rightly.

use super::effect::{Call, Now};
use super::{Coordinator, Stage};
use banyan_core::protocol::monolith::FenceSet;
use banyan_core::protocol::target::OwnershipOpen;
use banyan_core::row::FenceOwner;
use banyan_core::{BucketSet, OwnerEpoch, Side};
use std::collections::VecDeque;

/// A guarded command that opens an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// The service may write.
    Open(OwnerEpoch, BucketSet),
    /// The fence names the owner.
    Fence(FenceOwner, OwnerEpoch, BucketSet),
}

impl Coordinator {
    /// What opens the new owner.
    pub(super) fn open_commands(&self) -> VecDeque<Command> {
        let mut commands = VecDeque::new();
        if let Some(attempt) = &self.durable.attempt {
            owner_commands(attempt.to, attempt.owner_epoch, &attempt.buckets, &mut commands);
        }
        commands
    }

    /// What opens the old owner again, in the owner epochs that it had.
    pub(super) fn undo_commands(&self) -> VecDeque<Command> {
        let mut commands = VecDeque::new();
        if let Some(attempt) = &self.durable.attempt {
            for (epoch, buckets) in self.durable.by_epoch(&attempt.buckets) {
                owner_commands(attempt.to.other(), epoch, &buckets, &mut commands);
            }
        }
        commands
    }

    pub(super) fn next_command(&mut self, now: Now) {
        let Some(attempt) = self.durable.attempt.as_ref().map(|a| a.owner_epoch) else { return };
        self.skip_barred();
        match self.commands.front().cloned() {
            Some(Command::Open(owner_epoch, buckets)) => {
                let turn = self.turn(attempt);
                self.call(Call::Open(OwnershipOpen { turn, buckets, owner_epoch }));
            }
            Some(Command::Fence(owner, owner_epoch, buckets)) => {
                let (turn, capability) = (self.turn(attempt), self.start.capability.clone());
                self.call(Call::SetFence(FenceSet { capability, turn, buckets, owner, owner_epoch }));
            }
            None if self.stage == Stage::Undo => self.enter(Stage::RestoreRelease, now),
            None => self.enter(Stage::Release, now),
        }
    }

    pub(super) fn command_applied(&mut self, now: Now) {
        self.commands.pop_front();
        self.tries = 0;
        self.emit(now);
    }

    pub(super) fn set_fence(&mut self, owner: FenceOwner, owner_epoch: OwnerEpoch, buckets: BucketSet) {
        let (turn, capability) = (self.turn(owner_epoch), self.start.capability.clone());
        self.call(Call::SetFence(FenceSet { capability, turn, buckets, owner, owner_epoch }));
    }
}

fn owner_commands(owner: Side, epoch: OwnerEpoch, buckets: &BucketSet, commands: &mut VecDeque<Command>) {
    match owner {
        Side::Service => {
            commands.push_back(Command::Open(epoch, buckets.clone()));
            commands.push_back(Command::Fence(FenceOwner::Service, epoch, buckets.clone()));
        }
        Side::Monolith => commands.push_back(Command::Fence(FenceOwner::Monolith, epoch, buckets.clone())),
    }
}
