//! Between the contract's generated types and the model's: one to one, no decision taken. What the contract's types
//! allow and the model's do not is refused by name in [`crate::describe`] and [`crate::answer`].

use lakemill_model::{DataType, Image};

use crate::bindings::types;

impl From<DataType> for types::DataType {
    fn from(data_type: DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean,
            DataType::Int32 => Self::Int32,
            DataType::Int64 => Self::Int64,
            DataType::Float32 => Self::Float32,
            DataType::Float64 => Self::Float64,
            DataType::Decimal { precision, scale } => Self::Decimal(types::DecimalType { precision, scale }),
            DataType::Date => Self::Date,
            DataType::Timestamp => Self::Timestamp,
            DataType::Text => Self::Text,
            DataType::Bytes => Self::Bytes,
            DataType::Json => Self::Json,
        }
    }
}

impl From<types::DataType> for DataType {
    fn from(data_type: types::DataType) -> Self {
        match data_type {
            types::DataType::Boolean => Self::Boolean,
            types::DataType::Int32 => Self::Int32,
            types::DataType::Int64 => Self::Int64,
            types::DataType::Float32 => Self::Float32,
            types::DataType::Float64 => Self::Float64,
            types::DataType::Decimal(types::DecimalType { precision, scale }) => Self::Decimal { precision, scale },
            types::DataType::Date => Self::Date,
            types::DataType::Timestamp => Self::Timestamp,
            types::DataType::Text => Self::Text,
            types::DataType::Bytes => Self::Bytes,
            types::DataType::Json => Self::Json,
        }
    }
}

impl From<types::Image> for Image {
    fn from(image: types::Image) -> Self {
        match image {
            types::Image::Key => Self::Key,
            types::Image::Before => Self::Before,
            types::Image::After => Self::After,
            types::Image::Row => Self::Row,
            types::Image::Envelope => Self::Envelope,
        }
    }
}
