//! The structures of the standard that variables have (OPC 10000-5, 12 and OPC 10000-8, 5.6): many servers do not tell
//! what these are made of, and they are the same everywhere.

use super::{Field, Form, Layout, Part};
use crate::opcua::arguments::Kind;
use opcua::types::{DataTypeId, NodeId, ObjectId, VariantScalarTypeId as Of};

/// A type, its encoding, and its fields with how many dimensions they have.
type Told = (DataTypeId, ObjectId, &'static [(&'static str, Holds, usize)]);

/// What a field holds.
enum Holds {
    Plain(Of),
    Structure(DataTypeId),
}

use Holds::{Plain, Structure};

static STANDARD: [Told; 11] = [
    (
        DataTypeId::Range,
        ObjectId::Range_Encoding_DefaultBinary,
        &[("Low", Plain(Of::Double), 0), ("High", Plain(Of::Double), 0)],
    ),
    (
        DataTypeId::EUInformation,
        ObjectId::EUInformation_Encoding_DefaultBinary,
        &[
            ("NamespaceUri", Plain(Of::String), 0),
            ("UnitId", Plain(Of::Int32), 0),
            ("DisplayName", Plain(Of::LocalizedText), 0),
            ("Description", Plain(Of::LocalizedText), 0),
        ],
    ),
    (
        DataTypeId::ComplexNumberType,
        ObjectId::ComplexNumberType_Encoding_DefaultBinary,
        &[("Real", Plain(Of::Float), 0), ("Imaginary", Plain(Of::Float), 0)],
    ),
    (
        DataTypeId::DoubleComplexNumberType,
        ObjectId::DoubleComplexNumberType_Encoding_DefaultBinary,
        &[("Real", Plain(Of::Double), 0), ("Imaginary", Plain(Of::Double), 0)],
    ),
    (
        DataTypeId::AxisInformation,
        ObjectId::AxisInformation_Encoding_DefaultBinary,
        &[
            ("EngineeringUnits", Structure(DataTypeId::EUInformation), 0),
            ("EURange", Structure(DataTypeId::Range), 0),
            ("Title", Plain(Of::LocalizedText), 0),
            ("AxisScaleType", Plain(Of::Int32), 0),
            ("AxisSteps", Plain(Of::Double), 1),
        ],
    ),
    (
        DataTypeId::XVType,
        ObjectId::XVType_Encoding_DefaultBinary,
        &[("X", Plain(Of::Double), 0), ("Value", Plain(Of::Float), 0)],
    ),
    (
        DataTypeId::TimeZoneDataType,
        ObjectId::TimeZoneDataType_Encoding_DefaultBinary,
        &[("Offset", Plain(Of::Int16), 0), ("DaylightSavingInOffset", Plain(Of::Boolean), 0)],
    ),
    (
        DataTypeId::Argument,
        ObjectId::Argument_Encoding_DefaultBinary,
        &[
            ("Name", Plain(Of::String), 0),
            ("DataType", Plain(Of::NodeId), 0),
            ("ValueRank", Plain(Of::Int32), 0),
            ("ArrayDimensions", Plain(Of::UInt32), 1),
            ("Description", Plain(Of::LocalizedText), 0),
        ],
    ),
    (
        DataTypeId::EnumValueType,
        ObjectId::EnumValueType_Encoding_DefaultBinary,
        &[
            ("Value", Plain(Of::Int64), 0),
            ("DisplayName", Plain(Of::LocalizedText), 0),
            ("Description", Plain(Of::LocalizedText), 0),
        ],
    ),
    (
        DataTypeId::BuildInfo,
        ObjectId::BuildInfo_Encoding_DefaultBinary,
        &[
            ("ProductUri", Plain(Of::String), 0),
            ("ManufacturerName", Plain(Of::String), 0),
            ("ProductName", Plain(Of::String), 0),
            ("SoftwareVersion", Plain(Of::String), 0),
            ("BuildNumber", Plain(Of::String), 0),
            ("BuildDate", Plain(Of::DateTime), 0),
        ],
    ),
    (
        DataTypeId::ServerStatusDataType,
        ObjectId::ServerStatusDataType_Encoding_DefaultBinary,
        &[
            ("StartTime", Plain(Of::DateTime), 0),
            ("CurrentTime", Plain(Of::DateTime), 0),
            ("State", Plain(Of::Int32), 0),
            ("BuildInfo", Structure(DataTypeId::BuildInfo), 0),
            ("SecondsTillShutdown", Plain(Of::UInt32), 0),
            ("ShutdownReason", Plain(Of::LocalizedText), 0),
        ],
    ),
];

/// Each with its type.
pub(super) fn layouts() -> impl Iterator<Item = (NodeId, Layout)> {
    STANDARD.iter().map(|(data_type, encoding, fields)| {
        let field = |(name, holds, dimensions): &(&str, Holds, usize)| Field {
            name: (*name).to_owned(),
            part: match holds {
                Plain(kind) => Part::Plain(Kind::Of(*kind)),
                Structure(data_type) => Part::Structure(NodeId::from(*data_type)),
            },
            dimensions: *dimensions,
            is_optional: false,
        };
        let encoding = NodeId::from(*encoding);
        let fields = fields.iter().map(field).collect();
        (NodeId::from(*data_type), Layout { encoding, form: Form::Whole, fields })
    })
}
