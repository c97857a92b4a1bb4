//! NVIDIA's library. It belongs to the driver, so it is opened at run time or not at all.

use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;

use crate::gpu::{Gpu, Vendor};

/// The driver brings the versioned name; the bare one comes with developers' packages.
const LIBRARIES: &[&str] = &["libnvidia-ml.so.1", "libnvidia-ml.so", "nvml.dll"];

/// The library, if there is a driver.
pub(crate) fn open() -> Option<Nvml> {
    LIBRARIES.iter().find_map(|name| Nvml::builder().lib_path(name.as_ref()).init().ok())
}

/// The GPUs now; none if the library answers no more.
pub(crate) fn look(nvml: &Nvml) -> Option<Vec<Gpu>> {
    let count = nvml.device_count().ok()?;
    let gpu = |index: u32| {
        let device = nvml.device_by_index(index).ok()?;
        // Unified memory has no bytes of its own: an error here, or a total of 0.
        let memory = device.memory_info().ok().filter(|memory| memory.total > 0);
        Some(Gpu {
            vendor: Vendor::Nvidia,
            id: device.uuid().unwrap_or_else(|_| format!("gpu{index}")),
            name: device.name().ok()?,
            device: None,
            memory_total: memory.as_ref().map(|memory| memory.total),
            memory_used: memory.as_ref().map(|memory| memory.used),
            busy_percent: device.utilization_rates().ok().map(|rates| rates.gpu),
            temperature_c: device.temperature(TemperatureSensor::Gpu).ok(),
            power_w: device.power_usage().ok().map(|milliwatts| f64::from(milliwatts) / 1_000.0),
            throttled: device.current_throttle_reasons().ok().map(|reasons| reasons.bits()),
        })
    };
    Some((0..count).filter_map(gpu).collect())
}
