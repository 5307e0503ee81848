//! `wasi:filesystem/types` of a component whose directories have quotas: wasmtime-wasi's own, after the account was asked.
//!
//! Runs in: worker, on guest threads.
//! Invariant: what can make a directory grow asks its account first; everything else is passed on as it is.

use wasmtime::Result;
use wasmtime::component::HasData;
use wasmtime::component::Linker;
use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::filesystem::WasiFilesystemCtxView;
use wasmtime_wasi::filesystem::WasiFilesystemView as _;
use wasmtime_wasi::p2::DynInputStream;
use wasmtime_wasi::p2::DynOutputStream;
use wasmtime_wasi::p2::FsError;
use wasmtime_wasi::p2::FsResult;
use wasmtime_wasi::p2::ReaddirIterator;
use wasmtime_wasi::p2::bindings::filesystem::types;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use super::Growth;
use super::Reservation;
use super::stream::QuotaStream;
use crate::guest::Guest;
use crate::recorder::Files;

/// Puts the accounts before the file system.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> Result<()> {
    types::add_to_linker::<Guest, WithQuotas>(linker, |guest| Quoted(guest.filesystem()))
}

struct WithQuotas;

impl HasData for WithQuotas {
    type Data<'a> = Quoted<'a>;
}

/// The file system of one guest.
struct Quoted<'a>(WasiFilesystemCtxView<'a>);

type File = Resource<Descriptor>;

/// Room for what a call on `file` may do; nothing where there is no quota.
///
/// # Errors
/// It does not fit.
pub(crate) fn reserve(file: &File, growth: Growth) -> Result<Option<Reservation>, ErrorCode> {
    let reserved = Files::with(|files| files.reserve(files.rule(file.rep()), growth));
    reserved.unwrap_or(Ok(None)).map_err(|_| ErrorCode::Quota)
}

/// What goes from one directory to another, or has a name in both, does so through nobody's account.
fn between(from: &File, to: &File) -> Result<(), ErrorCode> {
    let refused = Files::with(|files| files.is_between(from.rep(), to.rep())).unwrap_or(false);
    if refused { Err(ErrorCode::CrossDevice) } else { Ok(()) }
}

fn unnamed(dir: &File) {
    Files::with(|files| files.unnamed(dir.rep()));
}

impl Quoted<'_> {
    /// Puts the account before a stream, where its file has one.
    fn accounted(&mut self, file: u32, stream: Resource<DynOutputStream>) -> FsResult<Resource<DynOutputStream>> {
        let ledger = Files::with(|files| files.ledger(file)).flatten();
        let Some(ledger) = ledger else { return Ok(stream) };
        let inner = self.0.table.delete(stream)?;
        let stream: DynOutputStream = Box::new(QuotaStream::new(inner, ledger));
        Ok(self.0.table.push(stream)?)
    }
}

impl types::Host for Quoted<'_> {
    fn convert_error_code(&mut self, error: FsError) -> Result<ErrorCode> {
        self.0.convert_error_code(error)
    }

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> Result<Option<ErrorCode>> {
        self.0.filesystem_error_code(error)
    }
}

impl types::HostDirectoryEntryStream for Quoted<'_> {
    async fn read_directory_entry(&mut self, stream: Resource<ReaddirIterator>) -> FsResult<Option<types::DirectoryEntry>> {
        self.0.read_directory_entry(stream).await
    }

    fn drop(&mut self, stream: Resource<ReaddirIterator>) -> Result<()> {
        types::HostDirectoryEntryStream::drop(&mut self.0, stream)
    }
}

impl types::HostDescriptor for Quoted<'_> {
    async fn set_size(&mut self, file: File, size: types::Filesize) -> FsResult<()> {
        // What it grows by is a hole.
        let _room = reserve(&file, Growth::Bytes(0))?;
        self.0.set_size(file, size).await
    }

    async fn write(&mut self, file: File, bytes: Vec<u8>, offset: types::Filesize) -> FsResult<types::Filesize> {
        let _room = reserve(&file, Growth::Bytes(u64::try_from(bytes.len()).unwrap_or(u64::MAX)))?;
        self.0.write(file, bytes, offset).await
    }

    fn write_via_stream(&mut self, file: File, offset: types::Filesize) -> FsResult<Resource<DynOutputStream>> {
        let rep = file.rep();
        let stream = self.0.write_via_stream(file, offset)?;
        self.accounted(rep, stream)
    }

    fn append_via_stream(&mut self, file: File) -> FsResult<Resource<DynOutputStream>> {
        let rep = file.rep();
        let stream = self.0.append_via_stream(file)?;
        self.accounted(rep, stream)
    }

    async fn create_directory_at(&mut self, dir: File, path: String) -> FsResult<()> {
        let _room = reserve(&dir, Growth::Name)?;
        self.0.create_directory_at(dir, path).await
    }

    async fn symlink_at(&mut self, dir: File, from: String, to: String) -> FsResult<()> {
        let _room = reserve(&dir, Growth::Name)?;
        self.0.symlink_at(dir, from, to).await
    }

    async fn link_at(&mut self, dir: File, flags: types::PathFlags, path: String, to_dir: File, to: String) -> FsResult<()> {
        between(&dir, &to_dir)?;
        let _room = reserve(&to_dir, Growth::Name)?;
        self.0.link_at(dir, flags, path, to_dir, to).await
    }

    async fn rename_at(&mut self, dir: File, path: String, to_dir: File, to: String) -> FsResult<()> {
        between(&dir, &to_dir)?;
        let _room = reserve(&to_dir, Growth::Entry)?;
        unnamed(&to_dir);
        self.0.rename_at(dir, path, to_dir, to).await
    }

    async fn unlink_file_at(&mut self, dir: File, path: String) -> FsResult<()> {
        unnamed(&dir);
        self.0.unlink_file_at(dir, path).await
    }

    // What makes nothing grow. (Opening files and closing them is defined in `wasi_p2`.)

    async fn open_at(
        &mut self,
        dir: File,
        path_flags: types::PathFlags,
        path: String,
        open: types::OpenFlags,
        flags: types::DescriptorFlags,
    ) -> FsResult<File> {
        self.0.open_at(dir, path_flags, path, open, flags).await
    }

    fn drop(&mut self, file: File) -> Result<()> {
        types::HostDescriptor::drop(&mut self.0, file)
    }

    fn read_via_stream(&mut self, file: File, offset: types::Filesize) -> FsResult<Resource<DynInputStream>> {
        self.0.read_via_stream(file, offset)
    }

    async fn advise(&mut self, file: File, offset: types::Filesize, len: types::Filesize, advice: types::Advice) -> FsResult<()> {
        self.0.advise(file, offset, len, advice).await
    }

    async fn sync_data(&mut self, file: File) -> FsResult<()> {
        self.0.sync_data(file).await
    }

    async fn sync(&mut self, file: File) -> FsResult<()> {
        self.0.sync(file).await
    }

    async fn get_flags(&mut self, file: File) -> FsResult<types::DescriptorFlags> {
        self.0.get_flags(file).await
    }

    async fn get_type(&mut self, file: File) -> FsResult<types::DescriptorType> {
        self.0.get_type(file).await
    }

    async fn set_times(&mut self, file: File, atime: types::NewTimestamp, mtime: types::NewTimestamp) -> FsResult<()> {
        self.0.set_times(file, atime, mtime).await
    }

    async fn set_times_at(
        &mut self,
        dir: File,
        flags: types::PathFlags,
        path: String,
        atime: types::NewTimestamp,
        mtime: types::NewTimestamp,
    ) -> FsResult<()> {
        self.0.set_times_at(dir, flags, path, atime, mtime).await
    }

    async fn read(&mut self, file: File, len: types::Filesize, offset: types::Filesize) -> FsResult<(Vec<u8>, bool)> {
        self.0.read(file, len, offset).await
    }

    async fn read_directory(&mut self, dir: File) -> FsResult<Resource<ReaddirIterator>> {
        self.0.read_directory(dir).await
    }

    async fn stat(&mut self, file: File) -> FsResult<types::DescriptorStat> {
        self.0.stat(file).await
    }

    async fn stat_at(&mut self, dir: File, flags: types::PathFlags, path: String) -> FsResult<types::DescriptorStat> {
        self.0.stat_at(dir, flags, path).await
    }

    async fn readlink_at(&mut self, dir: File, path: String) -> FsResult<String> {
        self.0.readlink_at(dir, path).await
    }

    async fn remove_directory_at(&mut self, dir: File, path: String) -> FsResult<()> {
        self.0.remove_directory_at(dir, path).await
    }

    async fn is_same_object(&mut self, a: File, b: File) -> Result<bool> {
        self.0.is_same_object(a, b).await
    }

    async fn metadata_hash(&mut self, file: File) -> FsResult<types::MetadataHashValue> {
        self.0.metadata_hash(file).await
    }

    async fn metadata_hash_at(&mut self, dir: File, flags: types::PathFlags, path: String) -> FsResult<types::MetadataHashValue> {
        self.0.metadata_hash_at(dir, flags, path).await
    }
}
