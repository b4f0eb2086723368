//! Reasons for which a driver is not changed.

operator_kit::reasons! {
    /// An earlier or later driver has to be available, or gone, before.
    WAITING_FOR_DRIVER = "WaitingForDriver";
    /// Nodes have the taint of a cloud provider that has not set them up.
    NODES_UNINITIALIZED = "NodesUninitialized";
    /// The version changes in a maintenance window.
    OUTSIDE_OF_WINDOW = "OutsideOfWindow";
    /// The driver that was removed is not gone yet.
    REMOVING = "Removing";
    /// It is not known whether the account of CPI sees the machines of all Nodes.
    MACHINES_UNKNOWN = "MachinesUnknown";

    /// The account of CPI does not see the machines of some Nodes.
    MACHINES_INVISIBLE = "MachinesInvisible";
    /// Another tool has installed such a driver.
    FOREIGN_DRIVER = "ForeignDriver";
    /// CSI needs CPI.
    CPI_REQUIRED = "CpiRequired";
    /// Volumes, attachments or snapshots of CSI exist.
    VOLUMES_IN_USE = "VolumesInUse";
    /// Pods have addresses of the network.
    NETWORK_IN_USE = "NetworkInUse";
}
