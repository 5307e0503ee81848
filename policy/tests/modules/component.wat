(component
  (import "wasi:cli/stdout@0.2.6" (instance (export "get-stdout" (func))))
  (import "wasi:filesystem/types@0.2.0" (instance (export "f" (func))))
  (import "wasi:nn/graph@0.2.0-rc-2024-10-28" (instance (export "load-by-name" (func))))
  (import "wasi:sockets/tcp@0.2.6" (instance (export "f" (func))))
  (core module $inside
    (import "anything" "at-all" (func))
    (memory 3)
    (table 7 funcref)
    (func (export "_start")))
  (component $run (import "f" (func $f)) (export "run" (func $f)))
  (import "host-func" (func $f))
  (instance $i (instantiate $run (with "f" (func $f))))
  (export "wasi:cli/run@0.2.6" (instance $i)))
