//! Reasons: the CamelCase constants that conditions, events and metrics share. `docs/vdo/README.md` says what to do about each.

operator_kit::reasons! {
    /// The drivers are as their object asks.
    AS_ASKED = "AsAsked";
    /// A driver is being installed, changed or removed.
    ROLLING_OUT = "RollingOut";
    /// Nodes are not set up yet.
    SETTING_UP_NODES = "SettingUpNodes";
    /// An earlier or later driver has to be available, or gone, before.
    WAITING_FOR_DRIVER = "WaitingForDriver";
    /// Nodes have the taint of a cloud provider that has not set them up.
    NODES_UNINITIALIZED = "NodesUninitialized";
    /// An upgrade has failed, and the version that ran before is applied again.
    ROLLED_BACK = "RolledBack";
    /// The version changes in a maintenance window.
    OUTSIDE_OF_WINDOW = "OutsideOfWindow";
    /// The driver that was removed is not gone yet.
    REMOVING = "Removing";
    /// It is not known whether the account of CPI sees the machines of all Nodes.
    MACHINES_UNKNOWN = "MachinesUnknown";
    /// A vCenter has not answered yet.
    CONNECTION_NOT_READY = "ConnectionNotReady";
    /// The account of a vCenter can log in, and sees the datacenters.
    LOGGED_IN = "LoggedIn";
    /// The preflight checks have not run yet.
    CHECKS_RUNNING = "ChecksRunning";
    /// The preflight checks have found nothing.
    CHECKS_PASSED = "ChecksPassed";
    /// The preflight checks warn, and forbid nothing.
    CHECKS_WARN = "ChecksWarn";
    /// Manifests or the matrix cannot be fetched now.
    FILE_UNREACHABLE = "FileUnreachable";

    /// Manifests or the matrix cannot be used, or have another checksum.
    FILE_UNUSABLE = "FileUnusable";
    /// The preflight checks have found what forbids the installation or the upgrade of a driver.
    CHECKS_FAILED = "ChecksFailed";
    /// An upgrade has failed, and is not rolled back.
    UPGRADE_FAILED = "UpgradeFailed";
    /// Nodes have not been set up for long.
    NODES_FAILING = "NodesFailing";
    /// No version of the matrix fits.
    NO_VERSION_FITS = "NoVersionFits";
    /// The settings cannot be used.
    INVALID_SETTINGS = "InvalidSettings";
    /// The account of CPI does not see the machines of some Nodes.
    MACHINES_INVISIBLE = "MachinesInvisible";
    /// The object of a vCenter does not exist.
    CONNECTION_MISSING = "ConnectionMissing";
    /// The Secret with an account, or the ConfigMap with authorities, is missing or incomplete.
    CREDENTIALS_MISSING = "CredentialsMissing";
    /// The account does not see a datacenter.
    DATACENTER_NOT_FOUND = "DatacenterNotFound";
    /// An older object decides about the driver.
    CONFLICTING = "Conflicting";
    /// Another tool has installed such a driver.
    FOREIGN_DRIVER = "ForeignDriver";
    /// CSI needs CPI.
    CPI_REQUIRED = "CpiRequired";
    /// Volumes, attachments or snapshots of CSI exist.
    VOLUMES_IN_USE = "VolumesInUse";
    /// Snapshots exist, which would go with their kinds.
    SNAPSHOTS_IN_USE = "SnapshotsInUse";
    /// CSI needs the kinds of snapshots.
    SNAPSHOTS_REQUIRED = "SnapshotControllerRequired";
    /// Pods have addresses of the network.
    NETWORK_IN_USE = "NetworkInUse";
}
