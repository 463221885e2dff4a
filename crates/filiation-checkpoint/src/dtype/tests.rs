use super::*;

fn widened(dtype: Dtype, data: &[u8]) -> Vec<f32> {
    let mut out = vec![0.0; data.len() / dtype.size()];
    dtype.widen(data, &mut out);
    out
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

#[test]
fn the_table_is_in_the_order_of_the_enum() {
    for (i, (dtype, name, _)) in TABLE.iter().enumerate() {
        assert_eq!(*dtype as usize, i);
        assert_eq!(Dtype::from_name(name), Some(*dtype));
    }
    let names: Vec<_> = TABLE.iter().map(|row| row.1).collect();
    assert_eq!(names.join(", "), Dtype::NAMES);
    assert_eq!(Dtype::from_name("F4"), None);
}

#[test]
fn all_e4m3_values_follow_the_formula() {
    for bits in 0..=255_u8 {
        let sign = if bits >= 128 { -1.0_f64 } else { 1.0 };
        let (e, m) = (i32::from((bits >> 3) & 15), f64::from(bits & 7));
        let expected = match (e, bits & 7) {
            (15, 7) => f64::NAN,
            (0, _) => sign * 2_f64.powi(-6) * m / 8.0,
            _ => sign * 2_f64.powi(e - 7) * (1.0 + m / 8.0),
        };
        let found = widened(Dtype::F8E4M3, &[bits])[0];
        assert!(
            same(found, expected as f32),
            "{bits:#x}: {found} {expected}"
        );
    }
    assert_eq!(widened(Dtype::F8E4M3, &[0x7e]), [448.0]);
}

#[test]
fn all_e5m2_values_are_the_upper_byte_of_binary16() {
    for bits in 0..=255_u8 {
        let expected = f16::from_le_bytes([0, bits]).to_f32();
        let found = widened(Dtype::F8E5M2, &[bits])[0];
        assert!(same(found, expected), "{bits:#x}: {found} {expected}");
    }
}

#[test]
fn all_f16_and_bf16_values_agree_with_half() {
    let data: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    let found = (widened(Dtype::F16, &data), widened(Dtype::BF16, &data));
    for bits in 0..=u16::MAX {
        let i = usize::from(bits);
        assert!(
            same(found.0[i], f16::from_bits(bits).to_f32()),
            "f16 {bits:#x}"
        );
        assert!(
            same(found.1[i], f32::from_bits(u32::from(bits) << 16)),
            "bf16 {bits:#x}"
        );
    }
}

#[test]
fn the_other_types_convert() {
    let bytes = (-3_i64).to_le_bytes();
    assert_eq!(widened(Dtype::I64, &bytes), [-3.0]);
    assert_eq!(widened(Dtype::I32, &bytes[..4]), [-3.0]);
    assert_eq!(widened(Dtype::I16, &bytes[..2]), [-3.0]);
    assert_eq!(widened(Dtype::I8, &bytes[..1]), [-3.0]);
    assert_eq!(
        widened(Dtype::U64, &u64::MAX.to_le_bytes()),
        [2_f32.powi(64)]
    );
    assert_eq!(widened(Dtype::U32, &7_u32.to_le_bytes()), [7.0]);
    assert_eq!(widened(Dtype::U16, &7_u16.to_le_bytes()), [7.0]);
    assert_eq!(widened(Dtype::U8, &[7, 255]), [7.0, 255.0]);
    assert_eq!(widened(Dtype::Bool, &[0, 1]), [0.0, 1.0]);
    assert_eq!(widened(Dtype::F64, &0.5_f64.to_le_bytes()), [0.5]);
}

#[test]
fn the_finite_scan_agrees_with_the_conversion() {
    let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    for dtype in [Dtype::F16, Dtype::BF16, Dtype::F8E4M3, Dtype::F8E5M2] {
        for element in all.chunks(dtype.size()) {
            let finite = widened(dtype, element)[0].is_finite();
            assert_eq!(
                dtype.first_not_finite(element).is_none(),
                finite,
                "{dtype} {element:?}"
            );
        }
    }
    let mut data: Vec<u8> = (0..5000).flat_map(|i| (i as f32).to_le_bytes()).collect();
    assert_eq!(Dtype::F32.first_not_finite(&data), None);
    data[4 * 4321..4 * 4322].copy_from_slice(&f32::NEG_INFINITY.to_le_bytes());
    assert_eq!(Dtype::F32.first_not_finite(&data), Some(4321));
    assert_eq!(
        Dtype::F64.first_not_finite(&f64::NAN.to_le_bytes()),
        Some(0)
    );
}
