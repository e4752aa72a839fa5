//! Platforms and their classes (gateway.md 1.5).

/// A client platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Platform {
    /// iPhone.
    Ios = 1,
    /// Android phone.
    Android = 2,
    /// Windows.
    Windows = 3,
    /// macOS.
    Osx = 4,
    /// Browser.
    Web = 5,
    /// Mini program.
    MiniWeb = 6,
    /// Linux.
    Linux = 7,
    /// Android tablet.
    APad = 8,
    /// iPad.
    IPad = 9,
    /// Administrator.
    Admin = 10,
    /// HarmonyOS phone.
    HarmonyOs = 11,
    /// Further clients; a class of its own.
    Other = 12,
}

/// A class of platforms, as login policy 4 groups them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Phones.
    Mobile,
    /// Desktop computers.
    Pc,
    /// Browsers.
    Web,
    /// Mini programs.
    MiniWeb,
    /// Tablets.
    Pad,
    /// Administrators.
    Admin,
    /// HarmonyOS.
    HarmonyOs,
    /// Everything else.
    Other,
}

impl Platform {
    /// All platforms in order of number.
    pub const ALL: [Self; 12] = [
        Self::Ios,
        Self::Android,
        Self::Windows,
        Self::Osx,
        Self::Web,
        Self::MiniWeb,
        Self::Linux,
        Self::APad,
        Self::IPad,
        Self::Admin,
        Self::HarmonyOs,
        Self::Other,
    ];

    /// The number on the wire.
    pub fn number(self) -> i32 {
        i32::from(self as u8)
    }

    /// The platform with this number.
    pub fn from_number(n: i32) -> Option<Self> {
        let index = usize::try_from(n).ok()?.checked_sub(1)?;
        Self::ALL.get(index).copied()
    }

    /// The class this platform belongs to.
    pub fn class(self) -> Class {
        match self {
            Self::Ios | Self::Android => Class::Mobile,
            Self::Windows | Self::Osx | Self::Linux => Class::Pc,
            Self::Web => Class::Web,
            Self::MiniWeb => Class::MiniWeb,
            Self::APad | Self::IPad => Class::Pad,
            Self::Admin => Class::Admin,
            Self::HarmonyOs => Class::HarmonyOs,
            Self::Other => Class::Other,
        }
    }

    /// The platform's name as clients know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ios => "IOS",
            Self::Android => "Android",
            Self::Windows => "Windows",
            Self::Osx => "OSX",
            Self::Web => "Web",
            Self::MiniWeb => "MiniWeb",
            Self::Linux => "Linux",
            Self::APad => "APad",
            Self::IPad => "IPad",
            Self::Admin => "Admin",
            Self::HarmonyOs => "HarmonyOS",
            Self::Other => "Other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        for p in Platform::ALL {
            assert_eq!(Platform::from_number(p.number()), Some(p));
        }
        for n in [0, -1, 13, i32::MAX, i32::MIN] {
            assert_eq!(Platform::from_number(n), None);
        }
    }
}
