//! A folder that is only ever read, whatever is in it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;
use quorate_disk::Files;

/// Opens files to read, and makes nothing.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Files for Folder {
    fn read(&self, path: &str, offset: u64, length: usize) -> io::Result<Bytes> {
        let file = File::open(self.0.join(path))?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes.into())
    }

    fn length(&self, path: &str) -> io::Result<u64> {
        Ok(std::fs::metadata(self.0.join(path))?.len())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.0.join(folder))? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}
