//! The API server: one group at a time, its instances, and the writes that the operator makes. `servers` compares it with a
//! real one.

use super::tables::StatusId;

/// Slots that a group may use: a machine that is being removed keeps its slot while another takes its place.
pub const SLOTS: usize = 4;

/// A VmInstance. One that exists has the operator's finalizer: the object goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instance {
    /// Its UID and its machine's instanceUuid derive from this number, which no other instance has. So does its group: see
    /// [`group_of`].
    pub number: u8,
    pub slot: u8,
    pub deleting: bool,
    pub status: StatusId,
}

/// Numbers of instances for each group.
const NUMBERS: u8 = 8;

/// Returns the number of the group that an instance of this number belongs to.
pub fn group_of(number: u8) -> u8 {
    number / NUMBERS
}

/// Returns the numbers that the instances of a group have; 0 is none.
pub fn numbers_of(group: u8) -> std::ops::Range<u8> {
    (group * NUMBERS).max(1)..(group + 1) * NUMBERS
}

/// The VmGroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// Its UID derives from this number. A group that is created again has another.
    pub number: u8,
    pub replicas: u8,
    pub deleting: bool,
    pub finalizer: bool,
    pub generation: u8,
    pub status: StatusId,
}

/// What a list returns, or a cache holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Objects {
    pub group: Option<Group>,
    pub instances: [Option<Instance>; SLOTS],
}

/// The API server's objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kubernetes {
    pub objects: Objects,
    /// The numbers of instances that something still refers to, one bit for each; another is given to the next instance.
    pub used: u16,
}

/// What became of an object that was to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// None of this UID exists.
    Gone,
    /// Its finalizer keeps it.
    Going(Instance),
}

// === users ===

impl Kubernetes {
    pub fn create_group(&mut self, number: u8, replicas: u8) {
        let status = StatusId::NONE;
        let group = Group { number, replicas, deleting: false, finalizer: false, generation: 1, status };
        self.objects.group.get_or_insert(group);
    }

    pub fn scale(&mut self, replicas: u8) {
        if let Some(group) = &mut self.objects.group
            && group.replicas != replicas
        {
            group.replicas = replicas;
            group.generation += 1;
        }
    }

    pub fn delete_group(&mut self) {
        let Some(group) = &mut self.objects.group else { return };
        if !group.finalizer {
            self.objects.group = None;
        } else if !group.deleting {
            group.deleting = true;
            group.generation += 1;
        }
    }
}

// === the garbage collector ===

impl Kubernetes {
    /// Deletes the instances whose owner is gone.
    pub fn collect(&mut self) {
        let group = self.objects.group.map(|group| group.number);
        let instances = self.objects.instances.iter_mut().flatten();
        for instance in instances.filter(|instance| Some(group_of(instance.number)) != group) {
            instance.deleting = true;
        }
    }
}

// === the operator ===

impl Kubernetes {
    /// POST of an instance of a group. `None`: the name is taken.
    pub fn create(&mut self, group: u8, slot: u8) -> Option<Instance> {
        let number = self.next_number(group);
        let place = &mut self.objects.instances[usize::from(slot)];
        if place.is_some() {
            return None;
        }
        self.used |= 1 << number;
        let instance = Instance { number, slot, deleting: false, status: StatusId::NONE };
        *place = Some(instance);
        *place
    }

    /// Returns the number of the next instance of a group.
    pub fn next_number(&self, group: u8) -> u8 {
        numbers_of(group).find(|number| self.used & (1 << number) == 0).unwrap()
    }

    /// DELETE with a precondition on the UID.
    pub fn delete(&mut self, slot: u8, number: u8) -> Deleted {
        match self.instance(slot, number) {
            Some(instance) => {
                instance.deleting = true;
                Deleted::Going(*instance)
            }
            None => Deleted::Gone,
        }
    }

    /// PATCH of the status, bound to the version that was read. `None`: the object is gone or another.
    pub fn apply_status(&mut self, read: Instance, status: StatusId) -> Option<Instance> {
        let instance = self.objects.instances[usize::from(read.slot)].as_mut()?;
        if *instance != read {
            return None;
        }
        instance.status = status;
        Some(*instance)
    }

    /// PATCH that removes the finalizer, bound to the UID. Returns whether an object of this UID existed.
    pub fn remove_finalizer(&mut self, slot: u8, number: u8) -> bool {
        let found = self.instance(slot, number).is_some_and(|instance| instance.deleting);
        if found {
            self.objects.instances[usize::from(slot)] = None;
        }
        found
    }

    /// PATCH that adds the finalizer of the group of this UID or removes it. `None`: this group is gone.
    pub fn set_group_finalizer(&mut self, number: u8, finalizer: bool) -> Option<Group> {
        let group = self.objects.group.as_mut().filter(|group| group.number == number)?;
        // A finalizer cannot be added to what is being deleted.
        group.finalizer = finalizer && (group.finalizer || !group.deleting);
        let kept = (!group.deleting || group.finalizer).then_some(*group);
        self.objects.group = kept;
        kept
    }

    /// PATCH of the group's status, bound to the version that was read. `None`: the group is gone or another.
    pub fn apply_group_status(&mut self, read: Group, status: StatusId) -> Option<Group> {
        let group = self.objects.group.as_mut().filter(|group| **group == read)?;
        group.status = status;
        Some(*group)
    }

    fn instance(&mut self, slot: u8, number: u8) -> Option<&mut Instance> {
        self.objects.instances[usize::from(slot)].as_mut().filter(|instance| instance.number == number)
    }
}
