//! Where AWS's regions are, for the ways of routing that go by place.

/// Region with its latitude and longitude in degrees.
const REGIONS: [(&str, f64, f64); 24] = [
    ("us-east-1", 38.9, -77.4),
    ("us-east-2", 40.0, -83.0),
    ("us-west-1", 37.4, -121.9),
    ("us-west-2", 45.8, -119.7),
    ("ca-central-1", 45.5, -73.6),
    ("ca-west-1", 51.0, -114.1),
    ("sa-east-1", -23.5, -46.6),
    ("eu-west-1", 53.3, -6.3),
    ("eu-west-2", 51.5, -0.1),
    ("eu-west-3", 48.9, 2.4),
    ("eu-central-1", 50.1, 8.7),
    ("eu-central-2", 47.4, 8.5),
    ("eu-north-1", 59.3, 18.1),
    ("eu-south-1", 45.5, 9.2),
    ("eu-south-2", 40.4, -3.7),
    ("me-south-1", 26.1, 50.6),
    ("af-south-1", -33.9, 18.4),
    ("ap-south-1", 19.1, 72.9),
    ("ap-southeast-1", 1.4, 103.8),
    ("ap-southeast-2", -33.9, 151.2),
    ("ap-northeast-1", 35.7, 139.7),
    ("ap-northeast-2", 37.6, 127.0),
    ("ap-northeast-3", 34.7, 135.5),
    ("ap-east-1", 22.3, 114.2),
];

/// Radius of the earth in kilometres.
const EARTH: f64 = 6371.0;

/// Where everybody asks from: Virginia, as TestDNSAnswer's own resolver does.
pub(super) const HERE: Place = Place { latitude: 38.9, longitude: -77.4 };

/// Where everybody asks from, as a record names it: continent, country, subdivision.
pub(super) const HERE_NAMED: [&str; 3] = ["NA", "US", "VA"];

/// A point on the earth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub latitude: f64,
    pub longitude: f64,
}

impl Place {
    pub(super) fn of_region(name: &str) -> Option<Self> {
        let found = REGIONS.iter().find(|(region, ..)| *region == name);
        found.map(|(_, latitude, longitude)| Self { latitude: *latitude, longitude: *longitude })
    }

    /// Returns the kilometres between two points.
    pub(super) fn distance(self, other: Self) -> f64 {
        let (here, there) = (self.latitude.to_radians(), other.latitude.to_radians());
        let turn = (self.longitude - other.longitude).to_radians();
        let half = |angle: f64| (angle / 2.0).sin().powi(2);
        let square = half(here - there) + here.cos() * there.cos() * half(turn);
        2.0 * EARTH * square.sqrt().asin()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_map() {
        let oregon = Place::of_region("us-west-2").expect("it is known");
        let ireland = Place::of_region("eu-west-1").expect("it is known");
        assert!((3400.0..3800.0).contains(&HERE.distance(oregon)));
        assert!((5300.0..5700.0).contains(&HERE.distance(ireland)));
        assert!(Place::of_region("us-east-9").is_none());
    }
}
