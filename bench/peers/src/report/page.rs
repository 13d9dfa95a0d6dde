use crate::record::Run;
pub(crate) fn page(_run: &Run, _policies: Option<&str>) -> String {
    String::new()
}
